"""How do time and memory of matrix decomposition compare with those of attention?

  python scripts/benchmarks/context.py [--sizes 16 32 64 128 256] [--channels 512] [--repeats 5] [--xla]

Repeats the comparison of the paper (Geng et al. 2021, input of 1 x 512 x 128 x 128): parameters, multiply-adds, time
and memory of each module, in inference and in training, and their growth with the number of positions. Training is the
forward pass and the gradients with respect to the input and all weights. Parameters and multiply-adds are computed by
formula. Time is the median of several calls after warm-up. Memory is the peak growth during one call, including the
results. Each run has its own process; variants are interleaved; the page reports medians and ranges over processes.
Inputs are random.

The modules, for C channels, with spectrally normalised 1x1 convolutions without bias and the output
x + sigma * context:

  nmf, cd, vq     Hamburger V1 without batch normalisation: D = C, R = C / 8, K = 6, S = 1.
  self_attention  SAGAN: queries and keys of C / 8 channels, values of C / 2, keys and values max-pooled 2x2.
  attention       The same without pooling: every position attends to every position.
  wide_attention  Without pooling; queries, keys and values of C channels.

Writes JSON, a page and a figure. Run it on an otherwise idle machine. Attention variants that do not fit in memory are
skipped and marked in the results.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import benchmarking
import numpy as np
from context_modules import (
    HAMS,
    NUM_STEPS,
    RANK_DIVISOR,
    SEED,
    VARIANTS,
    attention_bytes,
    build_layer,
    ham_multiply_adds,
    multiply_adds,
    parameters,
)
from context_page import MODES, QUANTITIES, draw, exponents, page

USABLE_PART_OF_MEMORY = 0.9
SIGMA = 0.5


def measure(variant: str, size: int, mode: str, *, channels: int, calls: int, xla: bool) -> dict[str, Any]:
    """Measures one module in this process: seconds per call and extra bytes of memory."""
    import keras
    import tensorflow as tf

    benchmarking.check_extra_memory()
    keras.utils.set_random_seed(SEED)
    layer = build_layer(variant, channels)
    # At the initial value of 0, only sigma would have a gradient.
    layer.sigma.assign(SIGMA)
    weights = [weight.value for weight in layer.trainable_weights]
    rng = np.random.default_rng(SEED)
    inputs, upstream = (tf.constant(rng.standard_normal((1, size, size, channels), np.float32)) for _ in range(2))

    @tf.function(jit_compile=xla)
    def infer(x: tf.Tensor) -> tf.Tensor:
        return layer(x, training=False)

    @tf.function(jit_compile=xla)
    def train(x: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
        return tape.gradient(outputs, [x, *weights], upstream)

    def call() -> Any:
        return infer(inputs) if mode == "inference" else train(inputs, upstream)

    first = benchmarking.seconds(call)
    benchmarking.seconds(call)
    extra = benchmarking.extra_memory(call)
    taken = [benchmarking.seconds(call) for _ in range(calls)]
    return {"seconds": benchmarking.summary(taken)["median"], "first_seconds": first, **extra}


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures every variant that fits in memory; returns the results."""
    available = benchmarking.available_memory_bytes()
    rows, commands = [], {}
    for size in sorted(arguments.sizes):
        for mode in MODES:
            for variant in arguments.variants:
                row = {"variant": variant, "size": size, "positions": size**2, "mode": mode}
                rows.append(row)
                needed = attention_bytes(variant, size**2, mode)
                if needed > USABLE_PART_OF_MEMORY * available:
                    row["skipped"] = f"needs {needed / 1e9:.1f} GB, {available / 1e9:.1f} GB available"
                    continue
                commands[_run_name(row)] = [
                    sys.executable,
                    os.path.abspath(__file__),
                    *("--measure", variant, str(size), mode),
                    *("--channels", str(arguments.channels), "--calls", str(arguments.calls)),
                    *(["--xla"] if arguments.xla else []),
                ]
    runs = benchmarking.interleaved(commands, arguments.repeats)
    for row in rows:
        if "skipped" not in row:
            row["runs"] = runs[_run_name(row)]
            for quantity in QUANTITIES:
                values = [run[quantity] for run in row["runs"] if run[quantity] is not None]
                row[quantity] = benchmarking.summary(values) if values else None
    channels = arguments.channels
    return {
        "config": {
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
            "repeats": arguments.repeats,
            "seed": SEED,
        },
        "formulas": {
            variant: {
                "parameters": parameters(variant, channels),
                "multiply_adds": {size: multiply_adds(variant, size**2, channels) for size in sorted(arguments.sizes)},
                "ham_multiply_adds": {
                    size: ham_multiply_adds(variant, size**2, channels)
                    for size in sorted(arguments.sizes)
                    if variant in HAMS
                },
            }
            for variant in arguments.variants
        },
        "measurements": rows,
        "exponents": exponents(rows),
    }


def _run_name(row: Mapping[str, Any]) -> str:
    return f"{row['variant']} {row['size']}x{row['size']} {row['mode']}"


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
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME", help="modules to compare"
    )
    parser.add_argument("--channels", type=int, default=512, metavar="N", help="C, a multiple of 8 (default: 512)")
    benchmarking.add_repeats(parser)
    parser.add_argument(
        "--calls", type=benchmarking.positive, default=3, metavar="N", help="measured calls per process (default: 3)"
    )
    parser.add_argument("--xla", action="store_true", help="compile with XLA")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.channels < 1 or arguments.channels % RANK_DIVISOR:
        parser.error(f"--channels must be a multiple of {RANK_DIVISOR}, found {arguments.channels}")
    if any(size < 2 or size % 2 for size in arguments.sizes):
        parser.error(f"--sizes must be even, found {arguments.sizes}")
    if arguments.measure:
        variant, size, mode = arguments.measure
        settings = {name: getattr(arguments, name) for name in ("channels", "calls", "xla")}
        print(json.dumps(measure(variant, int(size), mode, **settings)))
        return
    benchmarking.run(arguments, lambda: measure_all(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
