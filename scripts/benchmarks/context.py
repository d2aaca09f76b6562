"""How do time and memory of matrix decomposition compare with those of attention?

  python scripts/benchmarks/context.py [--sizes 16 32 64 128 256] [--channels 512] [--repeats 5] [--xla]

Repeats the comparison of the paper (Geng et al. 2021, input of 1 x 512 x 128 x 128) for all context modules:
parameters, multiply-adds, time and memory of each, in inference and in training, and their growth with the number of
positions. Training is the forward pass and the gradients with respect to the input and all weights. Parameters and
multiply-adds are computed by formula. Inputs are random.

Modules have their default settings, with spectrally normalised convolutions and no batch normalisation; ``VARIANTS``
in context_modules.py lists them. Hamburger has D = C, R = C / 8, K = 6 and S = 1.

Each process measures one module, from the smallest size to the largest, in inference and in training. Time and memory
are medians of the calls after the first: --calls of them, fewer once they have taken --seconds in all. Memory is the
peak growth during a call, including the results. The processes of different modules are interleaved; the page reports
medians and ranges over processes. A round of all modules takes about ten minutes on two cores: --repeats 1 and then
--add, whenever the machine is idle, is the same as more repeats.

Writes JSON, a page and a figure. Run it on an otherwise idle machine. What does not fit in memory is skipped and marked
in the results, by an upper estimate from its matrices of scores.
"""

import argparse
import functools
import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import benchmarking
import numpy as np
from context_modules import (
    CHANNELS_MULTIPLE,
    NUM_STEPS,
    RANK_DIVISOR,
    SEED,
    VARIANTS,
    build_layer,
    needed_bytes,
)
from context_page import MODES, QUANTITIES, draw, exponents, page

from hamgan.errors import UserError

USABLE_PART_OF_MEMORY = 0.9
SIGMA = 0.5


def measure(
    variant: str, cases: Sequence[tuple[int, str]], *, channels: int, calls: int, seconds: float, xla: bool
) -> dict[str, dict[str, Any]]:
    """Measures one module in this process.

    Args:
        variant: name of the module.
        cases: sizes and modes.
        channels: number of channels C.
        calls: greatest number of measured calls of a case.
        seconds: time after which no further call of a case is measured.
        xla: whether to compile with XLA.

    Returns:
        Seconds per call and extra bytes of memory of each case, by :func:`case_name`.
    """
    import keras
    import tensorflow as tf

    benchmarking.check_extra_memory()
    keras.utils.set_random_seed(SEED)
    layer = build_layer(variant, channels)
    # At the initial value of 0, only sigma would have a gradient.
    layer.sigma.assign(SIGMA)
    results = {}
    for size, group in itertools.groupby(cases, key=lambda case: case[0]):
        rng = np.random.default_rng(SEED)
        images = [tf.constant(rng.standard_normal((1, size, size, channels), np.float32)) for _ in range(2)]
        for _, mode in group:
            results[case_name(size, mode)] = _measure_case(layer, images, mode, calls=calls, seconds=seconds, xla=xla)
    return results


def _measure_case(
    layer: Any, images: Sequence[Any], mode: str, *, calls: int, seconds: float, xla: bool
) -> dict[str, Any]:
    import tensorflow as tf

    weights = [weight.value for weight in layer.trainable_weights]

    @tf.function(jit_compile=xla)
    def infer(x: tf.Tensor) -> tf.Tensor:
        return layer(x, training=False)

    @tf.function(jit_compile=xla)
    def train(x: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
        return tape.gradient(outputs, [x, *weights], upstream)

    function, arguments = (infer, images[:1]) if mode == "inference" else (train, images)
    call = functools.partial(function.get_concrete_function(*arguments), *arguments)
    # The first call needs more memory than later ones.
    benchmarking.seconds(call)
    taken: list[float] = []
    memory: list[dict[str, Any]] = []
    while not taken or (len(taken) < calls and sum(taken) < seconds):
        memory.append(benchmarking.extra_memory(lambda: taken.append(benchmarking.seconds(call))))
    extra = [found["extra_bytes"] for found in memory]
    return {
        "seconds": benchmarking.summary(taken)["median"],
        "extra_bytes": None if None in extra else benchmarking.summary(extra)["median"],
        "memory_of": memory[0]["memory_of"],
        "calls": len(taken),
    }


def case_name(size: int, mode: str) -> str:
    """Returns the name of a case in the results of a process."""
    return f"{size}x{size} {mode}"


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures every variant at every size that fits in memory; returns the results.

    Raises:
        UserError: if the results to add to have other settings.
    """
    channels, sizes = arguments.channels, sorted(arguments.sizes)
    config = {
        "batch": 1,
        "channels": channels,
        "hamburger": {
            "version": "v1",
            "latent_dim": channels,
            "rank": channels // RANK_DIVISOR,
            "num_steps": NUM_STEPS,
            "num_sections": 1,
        },
        "dtype": "float32",
        "xla": arguments.xla,
        "calls": arguments.calls,
        "seconds": arguments.seconds,
        "seed": SEED,
    }
    settings = {
        "config": config,
        "formulas": {variant: formulas(variant, sizes, channels) for variant in arguments.variants},
    }
    rows = earlier_rows(arguments.out, settings) if arguments.add else planned_rows(arguments.variants, sizes, channels)
    commands = {}
    for variant in arguments.variants:
        cases = [f"{row['size']}:{row['mode']}" for row in rows if row["variant"] == variant and "skipped" not in row]
        if cases:
            commands[variant] = [
                sys.executable,
                os.path.abspath(__file__),
                *("--measure", variant, *cases),
                *("--channels", str(channels), "--calls", str(arguments.calls), "--seconds", str(arguments.seconds)),
                *(["--xla"] if arguments.xla else []),
            ]
    runs = benchmarking.interleaved(commands, arguments.repeats)
    for row in rows:
        if "skipped" not in row:
            name = case_name(row["size"], row["mode"])
            row["runs"] = [*row.get("runs", ()), *(run[name] for run in runs[row["variant"]])]
            for quantity in QUANTITIES:
                values = [run[quantity] for run in row["runs"] if run[quantity] is not None]
                row[quantity] = benchmarking.summary(values) if values else None
    repeats = max((len(row["runs"]) for row in rows if "skipped" not in row), default=0)
    return {
        "config": {**config, "repeats": repeats},
        "formulas": settings["formulas"],
        "measurements": rows,
        "exponents": exponents(rows),
    }


def planned_rows(variants: Sequence[str], sizes: Sequence[int], channels: int) -> list[dict[str, Any]]:
    """Returns the measurements to make, and those to skip with the reason."""
    available = benchmarking.available_memory_bytes()
    rows: list[dict[str, Any]] = []
    for variant, size, mode in itertools.product(variants, sizes, MODES):
        rows.append({"variant": variant, "size": size, "positions": size**2, "mode": mode})
        needed = needed_bytes(variant, size, channels, mode)
        if needed > USABLE_PART_OF_MEMORY * available:
            rows[-1]["skipped"] = f"needs up to {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB available"
    return rows


def earlier_rows(path: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the measurements in a file of results.

    Args:
        path: the file.
        settings: what must be the same in the file: "config" and "formulas", which name the variants and sizes.

    Raises:
        UserError: if the file has other settings, or is from another machine.
    """
    results = benchmarking.read_json(path)
    here = {**benchmarking.environment(), **settings}
    there = {**results, "config": {name: value for name, value in results["config"].items() if name != "repeats"}}
    different = [name for name in ("device", "versions", "config", "formulas") if there[name] != here[name]]
    if different:
        raise UserError(
            f"expected results of the same device, versions and settings in {path}, "
            f"found other {' and '.join(different)}; "
            "measure without --add, or with the same options"
        )
    rows: list[dict[str, Any]] = results["measurements"]
    return rows


def formulas(variant: str, sizes: Sequence[int], channels: int) -> dict[str, Any]:
    """Returns the parameters and multiply-adds of a module as they stand in the results."""
    costs = {str(size): VARIANTS[variant].cost(size, channels) for size in sizes}
    any_size = next(iter(costs.values()))
    return {
        "parameters": any_size.parameters,
        "untrained": any_size.untrained,
        "multiply_adds": {size: cost.multiply_adds for size, cost in costs.items()},
        "ham_multiply_adds": {size: cost.ham_multiply_adds for size, cost in costs.items() if cost.ham_multiply_adds},
    }


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "context")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[16, 32, 64, 128, 256],
        metavar="N",
        help="heights and widths of the feature maps, even numbers",
    )
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help="modules to compare"
    )
    parser.add_argument("--channels", type=int, default=512, metavar="N", help="C, a multiple of 16 (default: 512)")
    benchmarking.add_repeats(parser)
    parser.add_argument(
        "--calls", type=benchmarking.positive, default=5, metavar="N", help="measured calls per process (default: 5)"
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="no call is measured after these (default: 1)"
    )
    parser.add_argument("--xla", action="store_true", help="compile with XLA")
    parser.add_argument(
        "--add", action="store_true", help="add processes to the results in --out, with the same options"
    )
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.channels < 1 or arguments.channels % CHANNELS_MULTIPLE:
        parser.error(f"--channels must be a multiple of {CHANNELS_MULTIPLE}, found {arguments.channels}")
    if any(size < 2 or size % 2 for size in arguments.sizes):
        parser.error(f"--sizes must be even, found {arguments.sizes}")
    if arguments.measure:
        variant, *cases = arguments.measure
        settings = {name: getattr(arguments, name) for name in ("channels", "calls", "seconds", "xla")}
        sizes_and_modes = [(int(size), mode) for size, mode in (case.split(":") for case in cases)]
        print(json.dumps(measure(variant, sizes_and_modes, **settings)))
        return
    benchmarking.run(arguments, lambda: measure_all(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
