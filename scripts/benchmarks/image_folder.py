"""How fast does ``hamgan prepare folder`` prepare pictures, compared with TFDS's own ImageFolder?

  python scripts/benchmarks/image_folder.py [--folder DIR] [--images 4000] [--repeats 5]

Each variant turns the same class folders of JPEG files into a TFDS data set with images of 128x128, a training and a
validation split:

- ``hamgan prepare folder`` with its default options: it checks, digests and reports the pictures.
- ``tfds.folder_dataset.ImageFolder`` and a parallel tf.data pipeline that resizes and encodes the images.
- A TFDS builder that generates one example after the other, with the same resizing.

Beside them, JPEG decoding alone: Pillow reads and decodes the files in a thread for each core, and writes nothing.

The pictures are crops of two real photographs with about the mean size of ILSVRC 2012 in pixels and bytes. They are not
in the page cache at the start of a run. Importing libraries is not timed. Each run has its own process; variants are
interleaved; the page reports medians, ranges and ratios of medians. After each preparation, tfds.load reads all images.

Writes JSON, a page and a figure. Needs disk space of 170 KB per picture and an otherwise idle machine.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import benchmarking
import photographs
import process_tree

from hamgan.errors import UserError

CLASSES = 10
LEAST_IMAGES = 10 * CLASSES
"""A picture of each class is for validation."""
RESOLUTION = 128
VARIANTS = {
    "hamgan": "`hamgan prepare folder`",
    "tfds": "TFDS ImageFolder and tf.data",
    "tfds_generator": "TFDS builder, one picture after the other",
    "decoding": "JPEG decoding alone",
}
BASE, LIMIT = "tfds", "decoding"
FIGURE_INCHES = (8.0, 3.0)
LABEL_WIDTH = 24


def make_source(folder: str, images: int) -> None:
    """Writes pictures into class folders."""
    for label in range(CLASSES):
        os.makedirs(os.path.join(folder, f"class_{label}"))
    for index, jpeg in enumerate(photographs.jpegs(images)):
        with open(os.path.join(folder, f"class_{index % CLASSES}", f"{index:06}.jpg"), "wb") as file:
            file.write(jpeg)


def measure(variant: str, source: str, data_dir: str) -> dict[str, float]:
    """Prepares the pictures once, into an empty folder, and reads the result.

    Args:
        variant: one of ``VARIANTS``.
        source: folder with a folder for each class, the only one in its parent folder.
        data_dir: folder of TFDS data sets, which is emptied.

    Returns:
        ``images``, ``images_per_second``, ``seconds``, ``cpu_seconds`` and ``peak_bytes``.
    """
    shutil.rmtree(data_dir, ignore_errors=True)
    os.sync()
    paths = [os.path.join(folder, file) for folder, _, files in os.walk(source) for file in files]
    name, prepare = _preparation(variant, source, data_dir, paths)
    for path in paths:
        photographs.drop_from_page_cache(path)
    memory = process_tree.PeakMemory()
    cpu_seconds = process_tree.cpu_seconds()
    begun = time.perf_counter()
    result = prepare()
    seconds = time.perf_counter() - begun
    cpu_seconds = process_tree.cpu_seconds() - cpu_seconds
    peak = memory.stop()
    images = result if name is None else count_images(name, data_dir)
    return {
        "images": images,
        "images_per_second": images / seconds,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_bytes": peak,
    }


def _preparation(
    variant: str, source: str, data_dir: str, paths: Sequence[str]
) -> tuple[str | None, Callable[[], Any]]:
    """Returns the name of the data set or None, and a function that prepares it or returns the number of pictures."""
    if variant == LIMIT:
        return None, lambda: photographs.decode(paths)
    return _hamgan(source, data_dir) if variant == "hamgan" else _tfds(variant, source, data_dir)


def _hamgan(source: str, data_dir: str) -> tuple[str, Callable[[], Any]]:
    """Returns the name of the data set, and a function that prepares it."""
    from data_prep.image_folder import ImageFolder
    from data_prep.local_workers import LocalWorkers
    from data_prep.picture_form import get_picture_forms
    from data_prep.prepare import Request, prepare

    with LocalWorkers(1) as workers:  # until the process that workers are forked from has imported TensorFlow
        workers.run(int, [()], title="Importing", unit="process", total=1)
    name = "photographs"
    request = Request(ImageFolder(source, name), data_dir, get_picture_forms(name, [RESOLUTION]))
    return f"{name}/{RESOLUTION}", lambda: prepare(request)


def _tfds(variant: str, source: str, data_dir: str) -> tuple[str, Callable[[], Any]]:
    """Returns the name of the data set, and a function that prepares it."""
    import tfds_pipelines

    assert tfds_pipelines.tf.executing_eagerly()  # imports TensorFlow now, not at its first use
    if variant == "tfds":
        return tfds_pipelines.NAME, lambda: tfds_pipelines.write_with_tf_data(os.path.dirname(source), data_dir)
    return tfds_pipelines.NAME, lambda: tfds_pipelines.write_with_builder(source, data_dir)


def count_images(name: str, data_dir: str) -> int:
    """Reads a data set; returns its number of images.

    Args:
        name: name of the data set.
        data_dir: folder of TFDS data sets.

    Raises:
        BenchmarkError: if the images are not those that its metadata describe, or some occur twice.
    """
    import tensorflow_datasets as tfds

    splits, info = tfds.load(name, data_dir=data_dir, with_info=True)
    names, read = set(), 0
    for dataset in splits.values():
        for example in dataset.as_numpy_iterator():
            if example["image"].shape != (RESOLUTION, RESOLUTION, 3):
                raise benchmarking.BenchmarkError(
                    f"expected images of {RESOLUTION}x{RESOLUTION} in {name}, found shape {example['image'].shape}"
                )
            names.add(example["file_name"])
            read += 1
    expected = sum(split.num_examples for split in info.splits.values())
    if not read == len(names) == expected:
        raise benchmarking.BenchmarkError(
            f"expected {expected:,} different images in {name}, found {read:,} with {len(names):,} names"
        )
    return read


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Creates pictures and measures all variants; returns the results."""
    if arguments.images < LEAST_IMAGES:
        raise UserError(f"--images must be at least {LEAST_IMAGES}, found {arguments.images}")
    if arguments.folder and not os.path.isdir(arguments.folder):
        raise UserError(f"--folder must be an existing folder, found {arguments.folder}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        source, data_dir = os.path.join(folder, "source", "train"), os.path.join(folder, "data")
        make_source(source, arguments.images)
        source_bytes = sum(
            os.path.getsize(os.path.join(parent, file)) for parent, _, files in os.walk(source) for file in files
        )
        script = [sys.executable, os.path.abspath(__file__), "--measure"]
        commands = {variant: [*script, variant, source, data_dir] for variant in VARIANTS}
        runs = benchmarking.interleaved(commands, arguments.repeats)
    for variant, results in runs.items():
        for result in results:
            if result["images"] != arguments.images:
                raise benchmarking.BenchmarkError(
                    f"expected {arguments.images:,} images from {variant}, found {result['images']:,}"
                )
    quantities = ("images_per_second", "seconds", "cpu_seconds", "peak_bytes")
    return {
        "config": {
            "images": arguments.images,
            "classes": CLASSES,
            "resolution": RESOLUTION,
            "source_bytes": source_bytes,
            "repeats": arguments.repeats,
        },
        "variants": {
            variant: {name: benchmarking.summary([result[name] for result in results]) for name in quantities}
            for variant, results in runs.items()
        },
    }


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config = results["config"]
    base, limit = (results["variants"][variant]["images_per_second"]["median"] for variant in (BASE, LIMIT))
    lines = [
        "# Preparing your own pictures",
        "",
        benchmarking.provenance(results),
        "",
        f"{config['images']:,} JPEG files of {config['source_bytes'] / 1e6:,.0f} MB in {config['classes']} class "
        f"folders become a TFDS data set of {config['resolution']}x{config['resolution']} PNG images. The files are "
        "not in the page cache at the start of a run. "
        f"Medians (ranges) over {config['repeats']} interleaved processes. CPU time "
        "and memory are those of all processes of a run. The TFDS variants check nothing; "
        "`hamgan prepare folder` checks, digests and reports each picture. Share: of the speed of JPEG decoding alone, "
        "which reads the same files in a thread for each core.",
        "",
        "| preparation | images/s | speedup | share | CPU time per 1,000 images | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for variant, row in results["variants"].items():
        speed = row["images_per_second"]
        cpu_seconds = row["cpu_seconds"]["median"] * 1_000 / config["images"]
        lines.append(
            f"| {VARIANTS[variant]} | {speed['median']:,.0f} ({speed['min']:,.0f}-{speed['max']:,.0f}) "
            f"| {speed['median'] / base:.2f} | {speed['median'] / limit:.2f} | {cpu_seconds:.1f} s "
            f"| {row['peak_bytes']['median'] / 1e9:.2f} GB |"
        )
    return "\n".join([*lines, "", f"![images/s and CPU time]({figure})", ""])


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws images/s and CPU time of the variants."""
    import matplotlib.pyplot as plt

    rows = list(results["variants"].items())[::-1]
    labels = [textwrap.fill(VARIANTS[variant].replace("`", ""), LABEL_WIDTH) for variant, _ in rows]
    figure, axes = plt.subplots(1, 2, figsize=FIGURE_INCHES, layout="constrained", sharey=True)
    for ax, name, factor, title in (
        (axes[0], "images_per_second", 1.0, "images/s"),
        (axes[1], "cpu_seconds", 1_000 / results["config"]["images"], "CPU seconds per 1,000 images"),
    ):
        ax.barh(labels, [row[name]["median"] * factor for _, row in rows])
        ax.set(xlabel=title)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "image_folder")
    parser.add_argument("--folder", metavar="DIR", help="working folder (default: a temporary folder)")
    parser.add_argument(
        "--images", type=benchmarking.positive, default=4_000, metavar="N", help="pictures to prepare (default: 4000)"
    )
    benchmarking.add_repeats(parser)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    benchmarking.run(arguments, lambda: measure_all(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
