"""Compile a preset's training step for a TPU, without one: does it fit, and how fast can it be?

Traces one core's share of the step, lowers it to StableHLO and compiles it with the compiler of TPUs. That takes
minutes; results are cached. The exit code is 1 if the step does not compile or does not fit.

  hamgan tpu-check --preset hamgan_strong --topology v5e:2x4
  hamgan tpu-check --preset hamgan_baby --topology v3:2x2 --precision float32 --override train.global_batch=512

Requires jax and libtpu: pip install 'hamgan[tpu-check]'. The times are bounds, computed from the peak rates of the chip
and the compiler's counts, without communication between cores.
"""

import argparse

from hamgan.cli.options import add_override, with_assignments
from hamgan.counted import counted
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    from hamgan.config import TPU_PRECISIONS
    from hamgan.config.presets import PRESETS
    from hamgan.tpu_check.chips import CHIPS

    parser.add_argument("--preset", required=True, metavar="NAME", help=f"one of {', '.join(PRESETS)}")
    parser.add_argument(
        "--topology",
        required=True,
        metavar="CHIP:SHAPE",
        help=f"slice of TPUs, such as v5e:2x4, v3:2x2 or v4:2x2x1; chips: {', '.join(CHIPS)}",
    )
    parser.add_argument(
        "--precision", choices=(*TPU_PRECISIONS, "both"), default="both", help="precisions to compile (default: both)"
    )
    add_override(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from hamgan.config import TPU_PRECISIONS
    from hamgan.config.presets import get_preset
    from hamgan.tpu_check.chips import parse_topology
    from hamgan.tpu_check.compiler import check_installed

    config = with_assignments(get_preset(arguments.preset), {}, arguments.override)
    topology = parse_topology(arguments.topology)
    check_installed()

    import_tensorflow_quietly()
    from hamgan.tpu_check.check import check, errors, table

    precisions = TPU_PRECISIONS if arguments.precision == "both" else (arguments.precision,)
    estimates = check(config, topology, precisions, say=lambda line: print(line, flush=True))
    images = counted(estimates[0].core_batch, "image")
    print(f"\n{config.name} on {topology.name}: {counted(topology.num_cores, 'core')}, {images} each")
    print("\n".join([*table(estimates), *errors(estimates)]))
    return 0 if all(estimate.passes for estimate in estimates) else 1
