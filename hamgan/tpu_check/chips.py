"""Specifications of Cloud TPU chips and slices.

Source: "Key specifications" on the pages for v3, v4, v5e, v5p and v6e below docs.cloud.google.com/tpu/docs/. GB and
GBps are taken as powers of ten, GiB as powers of two.
"""

import dataclasses
import math
import re

from hamgan.errors import UserError, did_you_mean

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of chip, described by its cores, the devices that each run one replica.

    Args:
        name: name of the chip.
        cores: number of devices per chip; the two TensorCores of v4 and v5p form one device.
        peak_flops: peak bfloat16 rate of one core, in FLOP/s; float32 products run as bfloat16 by default.
        memory: HBM of one core, in bytes.
        bandwidth: HBM bandwidth of one core, in bytes/s.
    """

    name: str
    cores: int
    peak_flops: float
    memory: float
    bandwidth: float


def _chip(name: str, cores: int, teraflops: float, memory: float, gigabytes_per_second: float) -> Chip:
    return Chip(name, cores, teraflops * 1e12 / cores, memory / cores, gigabytes_per_second * 1e9 / cores)


CHIPS = {
    chip.name: chip
    for chip in (
        _chip("v3", 2, 123, 32 * GIB, 900),
        _chip("v4", 1, 275, 32 * GIB, 1200),
        _chip("v5e", 1, 197, 16e9, 819),
        _chip("v5p", 1, 459, 95e9, 2765),
        _chip("v6e", 1, 918, 32e9, 1600),
    )
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A TPU slice, such as v5e:2x4.

    Args:
        chip: kind of chip.
        shape: number of chips along each axis.
    """

    chip: Chip
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the slice as the compiler expects it."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def num_cores(self) -> int:
        """Number of cores, and so of replicas."""
        return self.chip.cores * math.prod(self.shape)


def parse_topology(text: str) -> Topology:
    """Parses the name of a slice.

    Args:
        text: chip and shape, such as "v5e:2x4".

    Raises:
        UserError: the text does not have this format, or the chip is unknown.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", text)
    if not match:
        raise UserError(f"--topology: expected CHIP:SHAPE, such as v5e:2x4 or v3:2x2, found '{text}'")
    name, shape = match[1], tuple(map(int, match[2].split("x")))
    if name not in CHIPS:
        hint = did_you_mean(name, CHIPS) or f"; known chips: {', '.join(CHIPS)}"
        raise UserError(f"--topology: unknown chip '{name}'{hint}")
    if 0 in shape:
        raise UserError(f"--topology: expected at least one chip along each axis, found '{text}'")
    return Topology(CHIPS[name], shape)
