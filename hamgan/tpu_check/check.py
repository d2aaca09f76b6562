"""Estimates memory use and speed of a training step on a TPU slice, without a TPU."""

import dataclasses
import re
from collections.abc import Callable, Sequence

from hamgan.config import ExperimentConfig, override
from hamgan.counted import counted
from hamgan.distribution.strategies import share_of_batch
from hamgan.text_table import text_table
from hamgan.tpu_check.chips import GIB, Topology
from hamgan.tpu_check.compiler import Compiled, compile_for_tpu
from hamgan.tpu_check.lowering import lower_train_step

BATCH_MULTIPLE = 8
"""Factor of all suggested batches: a TPU pads to multiples of 8 rows."""

_EXHAUSTED = re.compile(r"Used ([\d.]+)([KMG]) of ([\d.]+)([KMG]) hbm")
_UNITS = {"K": 2**10, "M": 2**20, "G": GIB}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Estimate for one precision on one slice.

    Args:
        precision: one of ``hamgan.config.TPU_PRECISIONS``.
        topology: slice.
        core_batch: images per core and step.
        num_steps: number of training steps.
        compiled: statistics of the compiler.
        was_cached: whether the statistics come from an earlier check.
        has_loops: whether the program has loops, whose bodies the compiler counts once.
        state_bytes: size of weights, optimizer slots and other state, in bytes.
    """

    precision: str
    topology: Topology
    core_batch: int
    num_steps: int
    compiled: Compiled
    was_cached: bool
    has_loops: bool
    state_bytes: int

    @property
    def passes(self) -> bool:
        """Whether the step compiles and fits into memory."""
        return self.compiled.error is None and self.compiled.memory <= self.topology.chip.memory

    @property
    def compute_seconds(self) -> float:
        """Duration of a step at the chip's peak FLOP/s, in seconds."""
        return self.compiled.flops / self.topology.chip.peak_flops

    @property
    def memory_seconds(self) -> float:
        """Duration of a step at the bandwidth of HBM, in seconds."""
        return self.compiled.hbm_bytes / self.topology.chip.bandwidth

    @property
    def step_seconds(self) -> float:
        """Lower bound on the duration of a step, in seconds."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def largest_batch(self) -> int | None:
        """Estimated maximum number of images per core, or None if it is unknown.

        Assumes that memory beyond the state is proportional to the batch.
        """
        if self.compiled.error is None:
            used, available = float(self.compiled.memory), self.topology.chip.memory
        else:
            match = _EXHAUSTED.search(self.compiled.error)
            if match is None:
                return None
            used = float(match[1]) * _UNITS[match[2]]
            available = float(match[3]) * _UNITS[match[4]]
        growing = max(used - self.state_bytes, 1.0)
        fitting = int(self.core_batch * (available - self.state_bytes) / growing)
        return max(fitting - fitting % BATCH_MULTIPLE, 0)


def check(
    config: ExperimentConfig, topology: Topology, precisions: Sequence[str], say: Callable[[str], None]
) -> list[Estimate]:
    """Lowers and compiles one core's share of the training step in each precision.

    Args:
        config: experiment.
        topology: slice to compile for.
        precisions: any of ``hamgan.config.TPU_PRECISIONS``.
        say: function that takes lines of progress.

    Raises:
        UserError: the global batch is not a multiple of the number of cores.
        FailedError: the compiler crashed.
    """
    core_batch = share_of_batch(config.train.global_batch, topology.num_cores, f"cores of {topology.name}")
    estimates = []
    for precision in precisions:
        say(f"Tracing {config.name} in {precision}: {counted(core_batch, 'image')} per core")
        program = lower_train_step(override(config, [f"train.precision={precision}"]), core_batch)
        compiled, was_cached = compile_for_tpu(
            program.stablehlo, topology, f"Compiling {precision} for {topology.name}"
        )
        estimates.append(
            Estimate(
                precision=precision,
                topology=topology,
                core_batch=core_batch,
                num_steps=config.train.steps,
                compiled=compiled,
                was_cached=was_cached,
                has_loops="stablehlo.while" in program.stablehlo,
                state_bytes=program.state_bytes,
            )
        )
    return estimates


def table(estimates: Sequence[Estimate]) -> list[str]:
    """Returns the lines of a table with one column per estimate."""
    rows: list[tuple[str, Callable[[Estimate], str]]] = [
        ("", lambda e: e.precision),
        ("compiles", _verdict),
        ("compile time", lambda e: f"{e.compiled.seconds:.0f} s{' (cached)' if e.was_cached else ''}"),
    ]
    figures: list[tuple[str, Callable[[Estimate], str]]] = [
        ("HBM per core, GiB", lambda e: f"{e.compiled.memory / GIB:.2f} of {e.topology.chip.memory / GIB:.2f}"),
        ("  arguments (weights, slots, images)", lambda e: f"{e.compiled.argument_bytes / GIB:.2f}"),
        ("  temporaries", lambda e: f"{e.compiled.temporary_bytes / GIB:.2f}"),
        (
            "  outputs (not in place)",
            lambda e: f"{(e.compiled.output_bytes - e.compiled.aliased_bytes) / GIB:.2f}",
        ),
        ("  program", lambda e: f"{e.compiled.code_bytes / GIB:.2f}"),
        ("FLOP per step and core", lambda e: f"{e.compiled.flops:.3g}{' (loops counted once)' if e.has_loops else ''}"),
        ("bytes from and to HBM per step and core", lambda e: f"{e.compiled.hbm_bytes:.3g}"),
        ("step time, lower bound", lambda e: f"{e.step_seconds * 1e3:.3g} ms ({_bound(e)})"),
        ("images/s, upper bound", lambda e: f"{e.core_batch * e.topology.num_cores / e.step_seconds:,.0f}"),
        ("whole run, lower bound", lambda e: f"{e.num_steps * e.step_seconds / 3600:,.1f} h"),
    ]
    for name, figure in figures:
        rows.append((name, lambda e, figure=figure: figure(e) if e.compiled.error is None else "-"))  # type: ignore[misc]
    rows.append(
        ("largest batch per core, estimate", lambda e: "-" if e.largest_batch is None else f"{e.largest_batch}")
    )
    cells = [[name, *(value(estimate) for estimate in estimates)] for name, value in rows]
    return text_table(cells, left=len(cells[0])).splitlines()


def errors(estimates: Sequence[Estimate]) -> list[str]:
    """Returns one line for each precision that does not compile, with the first line of the error."""
    return [
        f"{estimate.precision}: {_first_line(estimate.compiled.error)}"
        for estimate in estimates
        if estimate.compiled.error is not None
    ]


def _verdict(estimate: Estimate) -> str:
    if estimate.compiled.error is None:
        return "yes" if estimate.passes else "yes, but it does not fit"
    return "no: does not fit" if estimate.compiled.is_too_large else "no"


def _bound(estimate: Estimate) -> str:
    return "memory" if estimate.memory_seconds > estimate.compute_seconds else "compute"


def _first_line(error: str) -> str:
    return next(line.strip() for line in error.splitlines() if line.strip())
