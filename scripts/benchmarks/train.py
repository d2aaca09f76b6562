"""How fast is a training step relative to the machine, and how much memory does it need?

  python scripts/benchmarks/train.py [--presets hamgan_strong] [--batches 8 16] [--forms plain auto] [--repeats 5]

Measures complete steps of the train function, each with a discriminator and a generator update: images/s, peak memory,
and the time from the start of the process to the end of the first step, with the parts for building and tracing. Images
are random and in memory, or with "--inputs files" read from the data set as in training. Each combination of preset,
resolution, batch, precision, convolution form, XLA, context and input has its own process; they are interleaved; the
page reports medians and ranges over processes. Another process in each round measures the machine: its rate in a 3x3
convolution (16 x 64 x 64 x 128, 128 filters) and in a product of 4096 x 4096 matrices.

"--torch" also measures BigGAN's step in PyTorch (torch_biggan.py), with self-attention in place of Hamburger, in
float32 at 128x128. Images are in the memory format "channels last", the faster one on CPUs. It needs the package torch.

FLOP per image are computed by formula, for the networks as written and for the chosen form, and counted by PyTorch for
BigGAN. Bytes per image are those that the operations of the traced step read and write, as if each went through main
memory. The share as written, images/s x FLOP as written / convolution rate, can be compared between machines; the
published graph reaches 0.64.

Writes JSON, a page and a figure. Run it on an otherwise idle machine.
"""

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import benchmarking
import step_cost

from hamgan.config import ExperimentConfig, override
from hamgan.config.presets import get_preset
from hamgan.errors import UserError

CONVOLUTION = (16, 64, 64, 128)
MATRIX_SIDE = 4096
PEAK_CALLS = 10
PUBLISHED_SHARE = 0.64
"""Share as written of the published graph: 0.89 images/s at 148 GFLOP on a machine of 206 GFLOP/s."""
FIGURE_INCHES = (8.0, 4.5)
BIGGAN = "BigGAN in PyTorch"
BIGGAN_NOTE = f"{BIGGAN} is our implementation of BigGAN's paper, with self-attention in place of Hamburger."
BIGGAN_CHANNELS = 64
BIGGAN_ATTENTION = 32
"""Size of the feature maps with self-attention, where hamgan_strong has its Hamburgers."""


def measure_machine() -> dict[str, Any]:
    """Measures the rates of a convolution and a matrix product in FLOP/s, medians of several calls."""
    import tensorflow as tf

    images = tf.random.stateless_normal(CONVOLUTION, (0, 1))
    kernel = tf.random.stateless_normal((3, 3, CONVOLUTION[-1], CONVOLUTION[-1]), (0, 2))
    matrix = tf.random.stateless_normal((MATRIX_SIDE, MATRIX_SIDE), (0, 3))

    # Arguments, because captured constants could be folded at compile time.
    @tf.function
    def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(images, kernel, strides=1, padding="SAME")

    @tf.function
    def multiply(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        return tf.matmul(one, other)

    rates = {}
    pixels = CONVOLUTION[0] * CONVOLUTION[1] * CONVOLUTION[2]
    for name, function, flops in (
        ("convolution_flops", lambda: convolve(images, kernel), 2 * pixels * 9 * CONVOLUTION[-1] ** 2),
        ("matmul_flops", lambda: multiply(matrix, matrix), 2 * MATRIX_SIDE**3),
    ):
        benchmarking.seconds(function)
        rates[name] = flops / statistics.median(benchmarking.seconds(function) for _ in range(PEAK_CALLS))
    return rates


def measure_step(overrides: Sequence[str], preset: str, *, xla: bool, inputs: str, steps: int) -> dict[str, Any]:
    """Measures the train function in this process: one call of ``steps`` steps, after a warm-up step."""
    begun = time.perf_counter()
    import tensorflow as tf

    from hamgan import random_streams
    from hamgan.training.state import TrainState
    from hamgan.training.step import TrainStep
    from hamgan.training.train_function import make_train_function

    class CompiledStep(TrainStep):
        """A step compiled into one XLA program, as on TPUs."""

        __call__ = tf.function(TrainStep.__call__, jit_compile=True)

    imported = time.perf_counter()
    config = override(get_preset(preset), overrides)
    strategy = tf.distribute.get_strategy()
    state = TrainState(config)
    step = (CompiledStep if xla else TrainStep)(state, config, strategy)
    train = make_train_function(step, strategy)
    iterator = iter(random_batches(config) if inputs == "memory" else read_batches(config))
    stream = random_streams.run_stream(config.train.seed)
    built = time.perf_counter()
    train.get_concrete_function(iterator, tf.constant(0), stream)  # type: ignore[attr-defined]
    traced = time.perf_counter()
    train(iterator, tf.constant(1), stream)
    first_step = time.perf_counter()
    taken = benchmarking.seconds(lambda: train(iterator, tf.constant(steps), stream)) / steps
    return {
        "images_per_second": config.train.global_batch / taken,
        "seconds_importing": imported - begun,
        "seconds_building": built - imported,
        "seconds_tracing": traced - built,
        "seconds_to_first_step": first_step - begun,
        "peak_bytes": benchmarking.peak_bytes(),
    }


def measure_biggan(*, batch: int, steps: int) -> dict[str, Any]:
    """Measures BigGAN's step in PyTorch in this process: some steps after a warm-up step."""
    begun = time.perf_counter()
    import torch
    import torch_biggan

    imported = time.perf_counter()
    step = torch_biggan.TrainingStep(
        base_channels=BIGGAN_CHANNELS,
        attention_resolution=BIGGAN_ATTENTION,
        batch=batch,
        precision="float32",
        device=torch.device("cpu"),
        channels_last=True,
    )
    built = time.perf_counter()
    flops = torch_biggan.count_flops(step)
    first_step = time.perf_counter()
    # Without benchmarking.seconds(), which imports TensorFlow and so adds to the memory.
    for _ in range(steps):
        step()
    taken = (time.perf_counter() - first_step) / steps
    return {
        "images_per_second": batch / taken,
        "seconds_importing": imported - begun,
        "seconds_building": built - imported,
        "seconds_tracing": 0.0,
        "seconds_to_first_step": first_step - begun,
        "peak_bytes": benchmarking.peak_bytes(),
        "flop_per_image": flops,
        "flop_per_image_as_written": flops,
    }


def count_bytes(overrides: Sequence[str], preset: str) -> dict[str, float]:
    """Traces a step in this process; returns the bytes that its operations read and write, per image."""
    from step_bytes import bytes_moved

    from hamgan.tpu_check.lowering import single_step, step_arguments
    from hamgan.training.state import TrainState

    config = override(get_preset(preset), overrides)
    traced = single_step(TrainState(config), config).get_concrete_function(*step_arguments(config))
    return {"bytes_per_image": bytes_moved(traced.graph, traced.outputs) / config.train.global_batch}


def random_batches(config: ExperimentConfig) -> Any:
    """Returns a dataset that repeats one batch of random images and labels."""
    import tensorflow as tf

    batch, resolution = config.train.global_batch, config.model.resolution
    images = tf.random.stateless_uniform((batch, resolution, resolution, 3), (0, 4), -1.0, 1.0)
    labels = tf.random.stateless_uniform((batch,), (0, 5), 0, config.model.num_classes, tf.int32)
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


def read_batches(config: ExperimentConfig) -> Any:
    """Returns the training batches of the config's data set."""
    from hamgan.data.dataset import ClassificationDataset

    return ClassificationDataset(config.data).training_batches(
        resolution=config.model.resolution, batch=config.train.global_batch, seed=config.train.seed
    )


def variants(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Returns all requested combinations by name."""
    found = {}
    data = [
        *([f"data.dataset={arguments.dataset}"] if arguments.dataset else []),
        *([f"data.data_dir={arguments.data_dir}"] if arguments.data_dir else []),
    ]
    for preset, resolution, batch, accumulation, precision, form, xla, module, inputs in itertools.product(
        arguments.presets,
        arguments.resolutions or [None],
        arguments.batches,
        arguments.accumulations,
        arguments.precisions,
        arguments.forms,
        arguments.xla,
        arguments.modules,
        arguments.inputs,
    ):
        overrides = [
            f"train.global_batch={batch}",
            f"train.accumulation={accumulation}",
            f"train.precision={precision}",
            f"model.convolution_form={form}",
            *([f"model.resolution={resolution}"] if resolution else []),
            *(["model.generator.context=none", "model.discriminator.context=none"] if module == "off" else []),
            *(data if inputs == "files" else []),
        ]
        model = override(get_preset(preset), overrides).model
        size = f"batch {batch} in {accumulation}"
        name = f"{preset} {model.resolution}px {size} {precision} {form} XLA {xla} context {module} {inputs}"
        found[name] = {
            "preset": preset,
            "resolution": model.resolution,
            "batch": batch,
            "accumulation": accumulation,
            "precision": precision,
            "form": form,
            "xla": xla,
            "module": module,
            "inputs": inputs,
            "overrides": overrides,
            "flop_per_image_as_written": step_cost.step_flops(model),
            "flop_per_image": step_cost.step_flops(model, form),
        }
    for batch in arguments.batches if arguments.torch else []:
        found[f"{BIGGAN} batch {batch}"] = {
            "preset": "hamgan_strong",
            "resolution": 128,
            "batch": batch,
            "precision": "float32",
            "form": BIGGAN,
            "xla": "off",
            "module": "on",
        }
    return found


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures all variants and the machine; returns the results."""
    rows = variants(arguments)
    script = [sys.executable, os.path.abspath(__file__)]
    commands = {"machine": [*script, "--measure", "machine"]}
    for name, row in rows.items():
        if row["form"] == BIGGAN:
            commands[name] = [*script, "--biggan", json.dumps({"batch": row["batch"], "steps": arguments.steps})]
            continue
        asked = {
            "preset": row["preset"],
            "overrides": row["overrides"],
            "xla": row["xla"] == "on",
            "inputs": row["inputs"],
        }
        commands[name] = [*script, "--measure", json.dumps({**asked, "steps": arguments.steps})]
    runs = benchmarking.interleaved(commands, arguments.repeats)
    counts = benchmarking.interleaved(
        {
            name: [*script, "--count", json.dumps({"preset": row["preset"], "overrides": row["overrides"]})]
            for name, row in rows.items()
            if row["form"] != BIGGAN
        },
        1,
    )
    machine = {name: benchmarking.summary([run[name] for run in runs["machine"]]) for name in runs["machine"][0]}
    for name, row in rows.items():
        for quantity, value in runs[name][0].items():
            is_counted = quantity.startswith("flop")
            row[quantity] = value if is_counted else benchmarking.summary([run[quantity] for run in runs[name]])
        if name in counts:
            row.update(counts[name][0])
        images = row["images_per_second"]["median"]
        for rate in machine:
            row[f"share_of_{rate}"] = images * row["flop_per_image"] / machine[rate]["median"]
        row["share_as_written"] = images * row["flop_per_image_as_written"] / machine["convolution_flops"]["median"]
    return {
        "config": {"steps": arguments.steps, "repeats": arguments.repeats},
        "machine": machine,
        "variants": rows,
    }


def labels(rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]]:
    """Returns the settings common to all variants, and the other settings of each variant."""
    parts = [
        (
            row["preset"],
            f"{row['resolution']}px",
            f"batch {row['batch']}",
            row["precision"],
            row["form"],
            f"XLA {row['xla']}",
            f"context {row['module']}",
            f"images from {row.get('inputs', 'memory')}",
            f"in {row['accumulation']} parts" if row.get("accumulation", 1) > 1 else "",
        )
        for row in rows.values()
    ]
    is_common = [len(set(values)) == 1 for values in zip(*parts, strict=True)]
    common = ", ".join(part for part, same in zip(parts[0], is_common, strict=True) if same and part)
    own = [", ".join(part for part, same in zip(row, is_common, strict=True) if not same and part) for row in parts]
    return common, [label or common for label in own]


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    machine = results["machine"]
    common, names = labels(results["variants"])
    lines = [
        "# Training steps",
        "",
        benchmarking.provenance(results),
        "",
        f"The machine reaches {machine['convolution_flops']['median'] / 1e9:.0f} GFLOP/s in a 3x3 convolution and "
        f"{machine['matmul_flops']['median'] / 1e9:.0f} GFLOP/s in a matrix product.",
        f"Medians (ranges) over {results['config']['repeats']} interleaved processes of "
        f"{results['config']['steps']} steps each. All variants: {common}.",
        "",
        "| variant | images/s | share as written | peak memory |",
        "|---|---|---|---|",
    ]
    more = [
        "| variant | GFLOP as written | GFLOP computed | share computed | GB moved | tracing | first step |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in zip(names, results["variants"].values(), strict=True):
        images, peak = row["images_per_second"], row["peak_bytes"]
        tracing = row["seconds_building"]["median"] + row["seconds_tracing"]["median"]
        lines.append(
            f"| {name} | {images['median']:.2f} ({images['min']:.2f}-{images['max']:.2f}) "
            f"| {row['share_as_written']:.2f} "
            f"| {peak['median'] / 1e9:.2f} GB |"
        )
        more.append(
            f"| {name} | {row['flop_per_image_as_written'] / 1e9:.1f} | {row['flop_per_image'] / 1e9:.1f} "
            f"| {row['share_of_convolution_flops']:.2f} | {_gigabytes(row.get('bytes_per_image'))} "
            f"| {tracing:.0f} s | {row['seconds_to_first_step']['median']:.0f} s |"
        )
    lines += [
        "",
        "Share as written: images/s x FLOP of the networks as written / rate of a 3x3 convolution. The published graph "
        f"reaches {PUBLISHED_SHARE}.",
        "",
        *([BIGGAN_NOTE, ""] if any(row["form"] == BIGGAN for row in results["variants"].values()) else []),
        *more,
        "",
        "GFLOP and GB are per image. Share computed: the same share with the FLOP that the chosen form computes. GB "
        "moved: what the operations of a step read and write, in a cache or not. Tracing includes building the "
        "networks; the first step counts from the start of the process.",
        "",
        f"![images/s]({figure})",
        "",
    ]
    return "\n".join(lines)


def _gigabytes(count: float | None) -> str:
    return "not counted" if count is None else f"{count / 1e9:.2f}"


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the share as written of each variant."""
    import matplotlib.pyplot as plt

    rows = results["variants"]
    common, names = labels(rows)
    figure, axes = plt.subplots(figsize=FIGURE_INCHES, layout="constrained")
    axes.barh(names, [row["share_as_written"] for row in rows.values()])
    axes.invert_yaxis()
    axes.axvline(PUBLISHED_SHARE, color="black", linestyle="--", label="the published graph, 128px")
    axes.set_xlabel("images/s x FLOP as written / rate of a 3x3 convolution")
    figure.suptitle(common, fontsize="medium")
    figure.legend(loc="outside lower right")
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "train")
    parser.add_argument(
        "--presets", nargs="+", default=["hamgan_strong"], metavar="NAME", help="default: hamgan_strong"
    )
    parser.add_argument(
        "--resolutions",
        nargs="+",
        type=benchmarking.positive,
        default=[],
        metavar="N",
        help="default: that of the preset",
    )
    parser.add_argument(
        "--batches", nargs="+", type=benchmarking.positive, default=[8, 16], metavar="N", help="default: 8 16"
    )
    parser.add_argument(
        "--accumulations",
        nargs="+",
        type=benchmarking.positive,
        default=[1],
        metavar="N",
        help="numbers of parts of each batch (default: 1)",
    )
    parser.add_argument("--precisions", nargs="+", default=["float32"], metavar="NAME", help="default: float32")
    parser.add_argument(
        "--forms", nargs="+", default=["plain", "strided", "auto"], metavar="NAME", help="default: plain strided auto"
    )
    parser.add_argument(
        "--xla", nargs="+", choices=("off", "on"), default=["off"], help="compile each step into one XLA program"
    )
    parser.add_argument(
        "--modules", nargs="+", choices=("on", "off"), default=["on"], help="networks with or without context modules"
    )
    parser.add_argument("--inputs", nargs="+", choices=("memory", "files"), default=["memory"])
    parser.add_argument(
        "--dataset", metavar="NAME", help="TFDS data set for --inputs files (default: that of the preset)"
    )
    parser.add_argument("--data_dir", metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--steps", type=benchmarking.positive, default=3, metavar="N", help="measured steps per process (default: 3)"
    )
    parser.add_argument("--torch", action="store_true", help="measure BigGAN in PyTorch, too")
    benchmarking.add_repeats(parser)
    parser.add_argument("--measure", metavar="JSON", help=argparse.SUPPRESS)
    parser.add_argument("--biggan", metavar="JSON", help=argparse.SUPPRESS)
    parser.add_argument("--count", metavar="JSON", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if (arguments.dataset or arguments.data_dir) and "files" not in arguments.inputs:
        parser.error("--dataset and --data_dir require --inputs files")
    if arguments.torch and importlib.util.find_spec("torch") is None:
        raise UserError("--torch needs the package torch, found none; pip install 'hamgan[torch]'")
    if arguments.measure == "machine":
        print(json.dumps(measure_machine()))
    elif arguments.biggan:
        print(json.dumps(measure_biggan(**json.loads(arguments.biggan))))
    elif arguments.count:
        print(json.dumps(count_bytes(**json.loads(arguments.count))))
    elif arguments.measure:
        print(json.dumps(measure_step(**json.loads(arguments.measure))))
    else:
        benchmarking.run(arguments, lambda: measure_all(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
