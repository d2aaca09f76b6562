"""What does global context cost: by matrix decomposition, and by attention?

  python scripts/bench_context.py [--sizes 16 32 64 128 256] [--channels 512] [--repeats 5] [--xla]

Redoes the paper's comparison (Geng et al. 2021, on an input of 1 x 512 x 128 x 128): parameters, multiply-adds, time
and memory of each module as a whole, in inference and in training, and how they grow with the number of positions.
Training is the forward pass and the gradients with respect to the input and every weight. Parameters and multiply-adds
are by formula; time is the median of some calls after warm-up; memory is by how much it grew at most during one call,
what the call returns included. Each run is a process of its own; the variants take turns; reported are medians and
ranges over the processes. The inputs are random.

The modules, with C channels, all with spectrally normalised 1x1 convolutions without bias, and x + sigma * context:

  nmf, cd, vq     Hamburger V1 without batch normalisation: D = C, R = C / 8, K = 6, S = 1.
  self_attention  as in SAGAN: queries and keys of C / 8 channels, values of C / 2, keys and values max-pooled 2x2.
  attention       the same without pooling: every position attends to every position.
  wide_attention  without pooling, and queries, keys and values of C channels.

Writes JSON, a page and, beside it, its figure. Nothing else should be running. Attention over many positions takes more
memory than most machines have: what would not fit is left out, and the results say so.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import benchmarking
import numpy as np

HAMS = ("nmf", "cd", "vq")
NUM_STEPS = 6
RANK_DIVISOR = 8
MODES = ("inference", "training")
QUANTITIES = {"seconds": "time", "extra_bytes": "extra memory"}
PAPER_SIZE = 128
FLOAT_BYTES = 4
# Of the matrix of queries by keys: scores and softmax; in training also the gradients of both.
LIVE_COPIES = {"inference": 2, "training": 4}
USABLE_PART_OF_MEMORY = 0.9
SIGMA = 0.5
SEED = 0
FIT_SIZES = 3
FIGURE_INCHES = (10.0, 7.0)


@dataclasses.dataclass(frozen=True)
class Attention:
    """Widths of an attention module, as divisors of C, and positions per key."""

    key_divisor: int
    value_divisor: int
    pooling: int


ATTENTIONS = {
    "self_attention": Attention(8, 2, 4),
    "attention": Attention(8, 2, 1),
    "wide_attention": Attention(1, 1, 1),
}
VARIANTS = (*HAMS, *ATTENTIONS)
PLOT_STYLES = {name: "-" if name in HAMS else "--" for name in VARIANTS}


def parameters(variant: str, channels: int) -> int:
    """Returns the number of trainable parameters.

    Hamburger V1: the breads, C D and D C, and sigma. Attention: queries and keys, C C_k each; values and what leads
    back from them, C C_v and C_v C; and sigma.
    """
    if variant in HAMS:
        return 2 * channels * channels + 1
    key_dim, value_dim = _widths(variant, channels)
    return 2 * channels * key_dim + 2 * channels * value_dim + 1


def singular_vector_entries(variant: str, channels: int) -> int:
    """Returns the number of values that are kept and not trained: a singular vector for each input of a convolution."""
    if variant in HAMS:
        return 2 * channels
    return 3 * channels + _widths(variant, channels)[1]


def multiply_adds(variant: str, positions: int, channels: int) -> int:
    """Returns the multiply-adds of one forward pass, without those of elementwise functions and spectral norms.

    Hamburger V1: N C D and N D C for the breads, and :func:`ham_multiply_adds`. Attention: the convolutions, N times as
    many as there are weights; and N M C_k for the scores and N M C_v for the weighted sums over M keys.
    """
    convolutions = positions * (parameters(variant, channels) - 1)
    if variant in HAMS:
        return convolutions + ham_multiply_adds(variant, positions, channels)
    keys = positions // ATTENTIONS[variant].pooling
    return convolutions + positions * keys * sum(_widths(variant, channels))


def ham_multiply_adds(ham: str, positions: int, latent_dim: int) -> int:
    """Returns the multiply-adds of a decomposition alone, of K steps and the last update.

    Every step has X^T A and X C, of N D R each; X^T A once more and A C^T come at the end. NMF also has C (A^T A) in
    all K + 1 updates of C, and A (C^T C) in K updates of A, each with its product of R by R: together
    (2 K + 1) (N + D) R^2. CD's ridge regression has A^T A and the solution of R equations for D right-hand sides,
    D R^2 each, and a Cholesky factor of R^3 / 6.
    """
    rank = latent_dim // RANK_DIVISOR
    products = (2 * NUM_STEPS + 2) * positions * latent_dim * rank
    if ham == "nmf":
        return products + (2 * NUM_STEPS + 1) * (positions + latent_dim) * rank**2
    if ham == "cd":
        return products + 2 * latent_dim * rank**2 + rank**3 // 6
    return products


def attention_bytes(variant: str, positions: int, mode: str) -> int:
    """Returns what the matrices of queries by keys take that are alive together; nothing for Hamburger."""
    if variant in HAMS:
        return 0
    return LIVE_COPIES[mode] * FLOAT_BYTES * positions * (positions // ATTENTIONS[variant].pooling)


def _widths(variant: str, channels: int) -> tuple[int, int]:
    attention = ATTENTIONS[variant]
    return channels // attention.key_divisor, channels // attention.value_divisor


def build_layer(variant: str, channels: int) -> Any:
    """Returns the module, built for any size of feature map.

    Raises:
        BenchmarkError: its parameters are not as many as the formula says.
    """
    import keras
    import tensorflow as tf

    from hamgan.layers import Hamburger, SelfAttention, SNConv2D

    class DotProductAttention(keras.Layer):
        """``x + sigma * attend(softmax(theta(x) phi(x)^T) g(x))``, every position over every position."""

        def build(self, input_shape: tuple[int | None, ...]) -> None:
            key_dim, value_dim = _widths(variant, channels)

            def conv(inputs: int, outputs: int) -> SNConv2D:
                layer = SNConv2D(outputs, 1, use_bias=False, norm_floor=0.0)
                layer.build((None, None, None, inputs))
                return layer

            self.theta, self.phi = conv(channels, key_dim), conv(channels, key_dim)
            self.g, self.attend = conv(channels, value_dim), conv(value_dim, channels)
            self.sigma = self.add_weight(name="sigma", shape=(), initializer="zeros")

        def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
            shape = tf.shape(inputs)

            def positions(features: tf.Tensor) -> tf.Tensor:
                return tf.reshape(features, (shape[0], -1, features.shape[-1]))

            queries = positions(self.theta(inputs, training=training))
            keys = positions(self.phi(inputs, training=training))
            values = positions(self.g(inputs, training=training))
            context = tf.matmul(tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True)), values)
            context = tf.reshape(context, (*tf.unstack(shape[:3]), values.shape[-1]))
            return inputs + self.sigma * self.attend(context, training=training)

    if variant in HAMS:
        layer = Hamburger(channels, channels // RANK_DIVISOR, num_steps=NUM_STEPS, ham=variant, seed=SEED)
    else:
        layer = SelfAttention() if ATTENTIONS[variant].pooling > 1 else DotProductAttention()
    layer.build((None, None, None, channels))
    expected = parameters(variant, channels) + singular_vector_entries(variant, channels)
    if layer.count_params() != expected:
        raise benchmarking.BenchmarkError(
            f"expected {variant} to have {expected:,} parameters and singular values, found {layer.count_params():,}"
        )
    return layer


def measure(variant: str, size: int, mode: str, *, channels: int, calls: int, xla: bool) -> dict[str, Any]:
    """Measures one module in this process: seconds of a call, and by how many bytes memory grew during one."""
    import keras
    import tensorflow as tf

    benchmarking.check_extra_memory()
    keras.utils.set_random_seed(SEED)
    layer = build_layer(variant, channels)
    # Not at its first value of zero: nothing but sigma would have a gradient.
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
    """Measures whatever fits into memory; returns what is written as JSON."""
    available = benchmarking.available_memory_bytes()
    rows, commands = [], {}
    for size in sorted(arguments.sizes):
        for mode in MODES:
            for variant in arguments.variants:
                row = {"variant": variant, "size": size, "positions": size**2, "mode": mode}
                rows.append(row)
                needed = attention_bytes(variant, size**2, mode)
                if needed > USABLE_PART_OF_MEMORY * available:
                    row["skipped"] = f"needs {needed / 1e9:.1f} GB, of {available / 1e9:.1f} GB available"
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


def exponents(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns p by mode, variant and quantity, where the quantity grows as N^p: least squares of its logarithms.

    Over the three largest sizes that were measured; None with fewer.
    """
    fitted: dict[str, dict[str, dict[str, float | None]]] = {mode: {} for mode in MODES}
    for mode in MODES:
        for variant in dict.fromkeys(row["variant"] for row in rows):
            fitted[mode][variant] = {}
            for quantity in QUANTITIES:
                positions, values = _curve(rows, variant, mode, quantity)
                fitted[mode][variant][quantity] = _slope(positions[-FIT_SIZES:], values[-FIT_SIZES:])
    return fitted


def _slope(positions: Sequence[int], values: Sequence[float]) -> float | None:
    if len(positions) < FIT_SIZES:
        return None
    return float(np.polyfit(np.log(positions), np.log(values), 1)[0])


def _curve(rows: Sequence[Mapping[str, Any]], variant: str, mode: str, quantity: str) -> tuple[list[int], list[float]]:
    """Positions and medians, in the order of size, where there is something to take the logarithm of."""
    points = [
        (row["positions"], row[quantity]["median"])
        for row in rows
        if (row["variant"], row["mode"]) == (variant, mode) and row.get(quantity) and row[quantity]["median"] > 0
    ]
    return [positions for positions, _ in sorted(points)], [value for _, value in sorted(points)]


def reference_size(rows: Sequence[Mapping[str, Any]]) -> int:
    """Returns the paper's size if it was measured, else the largest at which nothing was skipped, or any."""
    sizes = {row["size"] for row in rows}
    if PAPER_SIZE in sizes:
        return PAPER_SIZE
    return max(sizes - {row["size"] for row in rows if "skipped" in row}, default=min(sizes))


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns the tables, in Markdown, by the heading that they belong under."""
    rows, formulas = results["measurements"], results["formulas"]
    size = reference_size(rows)
    by_key = {(row["variant"], row["size"], row["mode"]): row for row in rows}
    variants = list(formulas)
    modes_and_quantities = [(mode, quantity) for quantity in QUANTITIES for mode in MODES]
    headers = [f"{mode}, {QUANTITIES[quantity]}" for mode, quantity in modes_and_quantities]

    def cells(variant: str, size: int) -> list[str]:
        return [_shown(by_key[variant, size, mode], quantity) for mode, quantity in modes_and_quantities]

    main = [
        [
            variant,
            f"{formulas[variant]['parameters']:,}",
            _engineering(_at(formulas[variant]["multiply_adds"], size)),
            _engineering(_at(formulas[variant]["ham_multiply_adds"], size)) if variant in HAMS else "",
            *cells(variant, size),
        ]
        for variant in variants
    ]
    ratios = [
        [f"{ham} / {attention}", *ratio]
        for ham in variants
        for attention in variants
        if ham in HAMS and attention in ATTENTIONS
        for ratio in [
            [
                _ratio(by_key[ham, size, mode], by_key[attention, size, mode], quantity)
                for mode, quantity in modes_and_quantities
            ]
        ]
    ]
    fitted = [
        [variant, *(_number(results["exponents"][mode][variant][quantity]) for mode, quantity in modes_and_quantities)]
        for variant in variants
    ]
    every_size = [
        [f"{size}x{size}", variant, *cells(variant, size)]
        for size in sorted({row["size"] for row in rows})
        for variant in variants
    ]
    return {
        f"At {size}x{size}": _table(
            ["module", "parameters", "multiply-adds", "of the ham alone", *headers],
            main,
        ),
        f"Hamburger over attention, at {size}x{size}": _table(["", *headers], ratios),
        "Exponents": _table(["module", *headers], fitted),
        "At every size": _table(["size", "module", *headers], every_size),
    }


def _at(by_size: Mapping[Any, int], size: int) -> int:
    """A value by size; sizes are strings once they were JSON."""
    return by_size[size] if size in by_size else by_size[str(size)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _engineering(count: float) -> str:
    exponent = min(max(int(math.log10(count)) // 3, 0), 4)
    return f"{count / 1000**exponent:.3g} {' KMGT'[exponent]}".rstrip()


def _shown(row: Mapping[str, Any], quantity: str) -> str:
    """Median and range."""
    if "skipped" in row:
        return f"skipped: {row['skipped']}" if quantity == "seconds" else "-"
    if not row[quantity]:
        return "not measured"
    values = [row[quantity][name] for name in ("median", "min", "max")]
    if quantity == "seconds":
        scale, unit = (1.0, "s") if values[0] >= 1 else (1e3, "ms")
    else:
        scale, unit = 1e-6, "MB"
    median, low, high = (f"{value * scale:.4g}" for value in values)
    return f"{median} {unit} ({low} to {high})"


def _ratio(row: Mapping[str, Any], base: Mapping[str, Any], quantity: str) -> str:
    medians = [(of.get(quantity) or {}).get("median") for of in (row, base)]
    return f"{medians[0] / medians[1]:.3g}" if all(medians) else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the page, in Markdown; ``figure`` is the name of its picture."""
    config = results["config"]
    hamburger = config["hamburger"]
    sections = tables(results)
    names = list(sections)
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    compiled = "with" if config["xla"] else "without"
    symbols = ", ".join(
        f"{symbol} = {hamburger[name]}"
        for symbol, name in (("D", "latent_dim"), ("R", "rank"), ("K", "num_steps"), ("S", "num_sections"))
    )
    descriptions = {
        "self_attention": "SAGAN's: queries and keys of C / 8 channels, values of C / 2; keys and values max-pooled",
        "attention": "queries and keys of C / 8 channels, values of C / 2; every position over every position",
        "wide_attention": "queries, keys and values of C channels; every position over every position",
        **{ham: f"Hamburger {hamburger['version'].upper()} with this ham, no batch norm, {symbols}" for ham in HAMS},
    }
    modules = "\n".join(f"- `{variant}`: {descriptions[variant]}" for variant in results["formulas"])
    runs = [run for row in results["measurements"] for run in row.get("runs", ())]
    counted = " and ".join(sorted({run["memory_of"] for run in runs}))
    return f"""# What global context costs: Hamburger and attention

Written by `scripts/bench_context.py`, which says what is measured and how; do not edit.

- Command: `{results["command"]}`
- Device: {results["device"]}
- Versions: {versions}
- Input: {config["batch"]} x height x width x {config["channels"]}, {config["dtype"]}, {compiled} XLA
{modules}

Parameters and multiply-adds (of the forward pass) are by formula. Training is the forward pass and the gradients with
respect to the input and every weight. Times are medians of {config["calls"]} calls; memory is by how much it grew at
most during a call, the results of the call included, as counted by {counted} (with oneDNN, only
tensors of 256 KiB and more count). Of both, the median and the range over {config["repeats"]} processes.

## {names[0]}

{sections[names[0]]}

## {names[1]}

Less than 1: Hamburger takes less.

{sections[names[1]]}

## Growth

![Time and extra memory over the number of positions]({figure})

The exponents p of time and of memory as N^p, N the number of positions: least squares of logarithms over each module's
{FIT_SIZES} largest sizes that were measured.

{sections[names[2]]}

## {names[3]}

{sections[names[3]]}
"""


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws time and extra memory over the number of positions as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    units = {"seconds": (1.0, "s"), "extra_bytes": (1e-6, "MB")}
    for axes, (quantity, mode) in zip(
        figure.subplots(2, 2, sharex=True).flat, [(q, m) for q in QUANTITIES for m in MODES], strict=True
    ):
        scale, unit = units[quantity]
        for variant in results["formulas"]:
            positions, values = _curve(results["measurements"], variant, mode, quantity)
            exponent = results["exponents"][mode][variant][quantity]
            label = variant if exponent is None else f"{variant}: N^{exponent:.2f}"
            axes.plot(
                positions,
                [value * scale for value in values],
                PLOT_STYLES[variant],
                marker="o",
                markersize=3,
                linewidth=1.2,
                label=label,
            )
        axes.set(xscale="log", yscale="log", title=f"{mode}, {QUANTITIES[quantity]}", ylabel=unit)
        axes.set_xlabel("positions")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    # No version and no date: the same results give the same file.
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    """Measures, and writes JSON, the page and its figure."""
    parser = benchmarking.new_parser(__doc__, "context")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[16, 32, 64, 128, 256], metavar="N", help="of feature maps, even"
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, metavar="NAME", help="modules")
    parser.add_argument("--channels", type=int, default=512, metavar="N", help="C, a multiple of 8 (default: 512)")
    benchmarking.add_repeats(parser)
    parser.add_argument(
        "--calls", type=benchmarking.positive, default=3, metavar="N", help="measured calls in each (default: 3)"
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
