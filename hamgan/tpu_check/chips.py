"""Cloud TPU chips and slices of them.

Figures: "Key specifications" of docs.cloud.google.com/tpu/docs/ v3, v4, v5e, v5p and v6e. GB and GBps there are read
as powers of ten, GiB as powers of two.
"""

import dataclasses
import math
import re

from hamgan.errors import UserError, did_you_mean

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of chip, as its cores: the devices that hold a replica each."""

    name: str
    cores: int
    """Devices per chip. The two TensorCores of v4 and v5p work as one device."""
    peak_flops: float
    """Of one core: bfloat16 multiplications, FLOP/s. Float32 ones run as bfloat16 by default, at the same rate."""
    memory: float
    """Of one core, bytes of HBM."""
    bandwidth: float
    """Of one core, bytes/s to and from HBM."""


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
    """A slice, such as v5e:2x4."""

    chip: Chip
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the compiler calls it."""
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"

    @property
    def num_cores(self) -> int:
        """How many replicas train on it."""
        return self.chip.cores * math.prod(self.shape)


def parse_topology(text: str) -> Topology:
    """Reads "v5e:2x4".

    Raises:
        UserError: it is not of that form, or of a chip that is not known.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", text)
    if not match:
        raise UserError(f"--topology reads CHIP:SHAPE, such as v5e:2x4 or v3:2x2, found '{text}'")
    name, shape = match[1], tuple(map(int, match[2].split("x")))
    if name not in CHIPS:
        hint = did_you_mean(name, CHIPS) or f"; there are {', '.join(CHIPS)}"
        raise UserError(f"--topology: unknown chip '{name}'{hint}")
    if 0 in shape:
        raise UserError(f"--topology: a slice has at least one chip along each axis, found '{text}'")
    return Topology(CHIPS[name], shape)
