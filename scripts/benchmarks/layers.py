"""Which form of each convolution is fastest?

  python scripts/benchmarks/layers.py [--presets hamgan_strong] [--batches 8 16] [--forms plain strided products]

Measures all convolutions of a preset's networks, with resampling, in each form of hamgan/layers/convolution: the
forward pass, the forward pass with the gradient of the images, and with the gradients of images and kernel. Layers of
the generator use the batch, layers of the discriminator twice the batch, as in the discriminator update. The forms of a
layer are measured in turns. Each batch has its own process; they are interleaved; the page reports medians over
processes. Inputs are random.

TF_NUM_INTRAOP_THREADS=1 and ONEDNN_MAX_CPU_ISA=AVX2 in the environment stand in for machines with fewer threads and
with shorter vectors.

For each layer, the page gives the fastest form, the form that "auto" chooses on a CPU, the share of the machine's
3x3 convolution rate, and the layer's time in a training step. A step runs the generator forward twice and backward
once; it runs the discriminator forward and backward on two images, and forward and backward to the images on a third.

Writes JSON, a page and a figure. Run it on an otherwise idle machine.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import benchmarking
import step_cost

from hamgan.config import ModelConfig
from hamgan.config.presets import get_preset

FORMS = ("plain", "strided", "products")
PASSES = ("forward", "to_images", "to_both")
FIGURE_INCHES = (9.0, 8.0)


def convolutions(model: ModelConfig) -> dict[str, step_cost.Convolution]:
    """Returns the convolutions by network and name, without those of context modules."""
    networks = {
        "generator": step_cost.generator_convolutions(model),
        "discriminator": step_cost.discriminator_convolutions(model),
    }
    return {f"{network}/{layer.name}": layer for network, layers in networks.items() for layer in layers}


def layer_batch(name: str, batch: int) -> int:
    """Returns the number of images that a layer processes in the update of its network."""
    return batch if name.startswith("generator") else 2 * batch


def measure(preset: str, batch: int, forms: Sequence[str], calls: int) -> dict[str, Any]:
    """Measures all convolutions in this process, the forms in turns: median seconds of each pass."""
    found: dict[tuple[Any, ...], dict[str, dict[str, float]]] = {}
    seconds: dict[str, dict[str, dict[str, float]]] = {form: {} for form in forms}
    for name, layer in convolutions(get_preset(preset).model).items():
        shape = (layer_batch(name, batch), layer.size, layer.kernel_size)
        key = (*shape, layer.in_channels, layer.out_channels, layer.resampling)
        if key not in found:
            found[key] = _measure_layer(layer, layer_batch(name, batch), forms, calls)
        for form in forms:
            seconds[form][name] = found[key][form]
    return {"seconds": seconds}


def _measure_layer(
    layer: step_cost.Convolution, batch: int, forms: Sequence[str], calls: int
) -> dict[str, dict[str, float]]:
    # Without resampling, "strided" is "plain".
    same_as = {"strided": "plain"} if layer.resampling is None and "plain" in forms else {}
    passes = {form: _passes(layer, batch, form) for form in forms if form not in same_as}
    taken: dict[str, dict[str, list[float]]] = {form: {part: [] for part in PASSES} for form in passes}
    for call in range(calls + 1):
        for form, functions in passes.items():
            for part, function in functions.items():
                seconds = benchmarking.seconds(function)
                if call > 0:  # The first call traces.
                    taken[form][part].append(seconds)
    medians = {
        form: {part: statistics.median(values) for part, values in parts.items()} for form, parts in taken.items()
    }
    return {form: medians[same_as.get(form, form)] for form in forms}


def _passes(layer: step_cost.Convolution, batch: int, form: str) -> dict[str, Callable[[], Any]]:
    """Returns the functions to measure, by the names in ``PASSES``."""
    import tensorflow as tf

    from hamgan.layers.convolution import convolve

    size = layer.size // 2 if layer.resampling == "up" else layer.size
    images = tf.random.stateless_normal((batch, size, size, layer.in_channels), (0, 1))
    kernel_shape = (layer.kernel_size, layer.kernel_size, layer.in_channels, layer.out_channels)
    kernel = tf.random.stateless_normal(kernel_shape, (0, 2))

    def forward(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return convolve(images, kernel, resampling=layer.resampling, form=form)  # type: ignore[arg-type]

    def gradients(images: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor, both: bool) -> list[tf.Tensor]:
        sources = [images, kernel] if both else [images]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            outputs = forward(images, kernel)
        return [outputs, *tape.gradient(outputs, sources, upstream)]

    compiled = tf.function(forward)
    upstream = tf.random.stateless_normal(compiled(images, kernel).shape, (0, 3))
    with_gradients = tf.function(gradients)
    return {
        "forward": lambda: compiled(images, kernel),
        "to_images": lambda: with_gradients(images, kernel, upstream, False),
        "to_both": lambda: with_gradients(images, kernel, upstream, True),
    }


def step_seconds(name: str, seconds: Mapping[str, float]) -> float:
    """Returns the time of a layer in a training step.

    A pass of the discriminator on one image counts as half of the measured pass on two.
    """
    if name.startswith("generator"):
        return seconds["forward"] + seconds["to_both"]
    return seconds["to_both"] + seconds["to_images"] / 2


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures all forms at all batches; returns the results."""
    models = {preset: get_preset(preset).model for preset in arguments.presets}
    script = [sys.executable, os.path.abspath(__file__)]
    asked = {
        f"{preset}, batch {batch}": {
            "preset": preset,
            "batch": batch,
            "forms": arguments.forms,
            "calls": arguments.calls,
        }
        for preset in arguments.presets
        for batch in arguments.batches
    }
    commands = {name: [*script, "--measure", json.dumps(values)] for name, values in asked.items()}
    machine = os.path.join(os.path.dirname(os.path.abspath(__file__)), "train.py")
    commands["machine"] = [sys.executable, machine, "--measure", "machine"]
    runs = benchmarking.interleaved(commands, arguments.repeats)
    rows = []
    for name, values in asked.items():
        layers_and_forms = itertools.product(convolutions(models[values["preset"]]).items(), values["forms"])
        for (layer_name, layer), form in layers_and_forms:
            seconds = {
                part: benchmarking.summary([run["seconds"][form][layer_name][part] for run in runs[name]])
                for part in PASSES
            }
            medians = {part: value["median"] for part, value in seconds.items()}
            rows.append(
                {
                    "preset": values["preset"],
                    "batch": values["batch"],
                    "form": form,
                    "layer": layer_name,
                    "size": layer.size,
                    "kernel_size": layer.kernel_size,
                    "channels": [layer.in_channels, layer.out_channels],
                    "resampling": layer.resampling,
                    "auto": layer.form_on_cpu(),
                    "flops": layer.flops(form) * layer_batch(layer_name, values["batch"]),
                    "seconds": seconds,
                    "step_seconds": step_seconds(layer_name, medians),
                }
            )
    rates = {name: benchmarking.summary([run[name] for run in runs["machine"]]) for name in runs["machine"][0]}
    return {
        "config": {"calls": arguments.calls, "repeats": arguments.repeats},
        "machine": rates,
        "measurements": rows,
    }


def groups(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], dict[str, dict[str, Mapping[str, Any]]]]:
    """Returns rows by (preset, batch), layer and form."""
    found: dict[tuple[str, int], dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in rows:
        layers = found.setdefault((row["preset"], row["batch"]), {})
        layers.setdefault(row["layer"], {})[row["form"]] = row
    return found


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    rate = results["machine"]["convolution_flops"]["median"]
    lines = [
        "# Convolutions, layer by layer",
        "",
        benchmarking.provenance(results),
        "",
        f"The machine reaches {rate / 1e9:.0f} GFLOP/s in a 3x3 convolution. Times in ms: forward / forward and the "
        "gradient of the images / forward and the gradients of images and kernel; medians of "
        f"{results['config']['repeats']} processes. Bold: the fastest form in a step. Step: ms in a step with the form "
        "of `auto`. Share: fraction of the machine's rate that the fastest form reaches.",
    ]
    for (preset, batch), layers in groups(results["measurements"]).items():
        forms = list(next(iter(layers.values())))
        lines += [
            "",
            f"## {preset}, batch {batch}",
            "",
            f"| layer | size | channels | {' | '.join(forms)} | auto | step | share |",
            "|---|---|---|" + "---|" * len(forms) + "---|---|---|",
        ]
        total = fastest = 0.0
        for name, by_form in layers.items():
            best = min(by_form.values(), key=lambda row: row["step_seconds"])
            cells = [_cell(by_form[form], by_form[form] is best) for form in forms]
            taken = by_form.get(best["auto"], best)
            total += taken["step_seconds"]
            fastest += best["step_seconds"]
            # Each layer needs the FLOP of four forward passes: forward twice and backward once, or the like.
            share = 4 * best["flops"] / best["step_seconds"] / rate
            resampling = {"up": " up", "down": " down", None: ""}[best["resampling"]]
            kernel = f"{best['kernel_size']}x{best['kernel_size']}"
            lines.append(
                f"| {name} {kernel}{resampling} | {best['size']} | {best['channels'][0]} to {best['channels'][1]} "
                f"| {' | '.join(cells)} | {best['auto']} | {taken['step_seconds'] * 1e3:.0f} | {share:.2f} |"
            )
        lines += [
            "",
            f"All layers in a step: {total:.2f} s with the forms of `auto`, {fastest:.2f} s with the fastest.",
        ]
    return "\n".join([*lines, "", f"![time in a step]({figure})", ""])


def _cell(row: Mapping[str, Any], is_best: bool) -> str:
    text = " / ".join(f"{row['seconds'][part]['median'] * 1e3:.0f}" for part in PASSES)
    return f"**{text}**" if is_best else text


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the time of each layer in a step, in each form, for the first preset and batch."""
    import matplotlib.pyplot as plt

    (preset, batch), layers = next(iter(groups(results["measurements"]).items()))
    forms = list(next(iter(layers.values())))
    figure, axes = plt.subplots(figsize=FIGURE_INCHES, layout="constrained")
    height = 0.8 / len(forms)
    for index, form in enumerate(forms):
        positions = [place + index * height for place in range(len(layers))]
        axes.barh(positions, [by_form[form]["step_seconds"] * 1e3 for by_form in layers.values()], height, label=form)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(layers))], list(layers), fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(f"ms per step of {preset}, batch {batch}")
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "layers")
    parser.add_argument(
        "--presets", nargs="+", default=["hamgan_strong"], metavar="NAME", help="default: hamgan_strong"
    )
    parser.add_argument(
        "--batches", nargs="+", type=benchmarking.positive, default=[8, 16], metavar="N", help="default: 8 16"
    )
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help=f"default: {' '.join(FORMS)}")
    parser.add_argument(
        "--calls", type=benchmarking.positive, default=3, metavar="N", help="measured calls per process (default: 3)"
    )
    benchmarking.add_repeats(parser)
    parser.add_argument("--measure", metavar="JSON", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(**json.loads(arguments.measure))))
        return
    benchmarking.run(arguments, lambda: measure_all(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
