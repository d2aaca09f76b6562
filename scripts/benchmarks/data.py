"""How fast does HamGAN prepare ImageNet, and how fast does it read each form?

  python scripts/benchmarks/data.py [--folder DIR] [--images 30000] [--repeats 5]

Preparation: images/s of ``hamgan prepare imagenet`` (which checks the structure of each image, or decodes it) relative
to the TFDS builder (which checks nothing). All read the same tars, which are not in the page cache at the start of a
run. Importing libraries is not timed. Beside them, JPEG decoding alone: Pillow decodes such images in a thread for each
core.

Reading: shuffled training images/s of ``imagenet_hamgan/128`` relative to ``imagenet2012``, at 128x128, from the page
cache. Beside them, the record files of ``imagenet_hamgan/128`` alone, without shuffling, decoding and scaling, and the
rate at which the cores copy memory: each image is written once, as float32.

The images are crops of two real photographs with about the mean size of ILSVRC 2012 in pixels and bytes. Each run has
its own process; variants are interleaved; the page reports medians, ranges and ratios of medians.

Writes JSON, a page and a figure. Needs disk space of about 5 times the size of the tars (105 KB per image) and an
otherwise idle machine.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import benchmarking
import numpy as np
import photographs
import process_tree

from hamgan.errors import UserError

SPLITS = ("train", "validation")
IMAGES_PER_CLASS = 100
VALIDATION_PER_CLASS = 1
MOST_IMAGES = IMAGES_PER_CLASS * 1_000
DISTINCT_IMAGES = 200
READ_CLASSES = 40
BATCH = 64
WARM_UP_BATCHES = 20
READ_SECONDS = 8.0
PREPARATIONS = {
    "stock": "TFDS builder, no checks",
    "hamgan_structure": "`hamgan prepare imagenet`",
    "hamgan_full": "`hamgan prepare imagenet --check full`",
    "decoding": "JPEG decoding alone",
}
READINGS = {"original": "imagenet2012", "fast": "imagenet_hamgan/128", "records": "record files of imagenet_hamgan/128"}
RESOLUTION = 128
IMAGE_BYTES = RESOLUTION**2 * 3 * 4
LIMIT = "decoding"
DECODED_IMAGES = 4_000
COPIED_BYTES = 2**28
COPIES = 10
FIGURE_INCHES = (8.0, 3.0)
LABEL_WIDTH = 24


def make_source(folder: str, classes: int) -> None:
    """Writes tars with crops of the photographs of scikit-learn."""
    from data_prep.fake_imagenet import write_fake_imagenet
    from data_prep.ilsvrc import synsets

    jpegs = list(photographs.jpegs(DISTINCT_IMAGES))
    write_fake_imagenet(
        folder,
        layout="tars",
        classes=synsets()[:classes],
        train_per_class=IMAGES_PER_CLASS,
        validation_per_class=VALIDATION_PER_CLASS,
        flaws=False,
        image=lambda rng, label: jpegs[rng.integers(DISTINCT_IMAGES)],
    )


def measure_preparation(variant: str, source: str, data_dir: str) -> dict[str, float]:
    """Prepares the tars once, into an empty folder; returns images/s, seconds and peak memory."""
    shutil.rmtree(data_dir, ignore_errors=True)
    os.sync()
    from data_prep.local_workers import start_importing

    if variant != "stock":
        start_importing()
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from data_prep.imagenet import Imagenet
    from data_prep.imagenet_forms import get_forms
    from data_prep.imagenet_sources import find_split
    from data_prep.prepare import Request, prepare

    assert tf.executing_eagerly()
    tars = {split: find_split(source, split) for split in SPLITS}
    for path in tars.values():
        photographs.drop_from_page_cache(path)
    memory = process_tree.PeakMemory()
    begun = time.perf_counter()
    if variant == "stock":
        config = tfds.download.DownloadConfig(manual_dir=source)
        builder = tfds.builder("imagenet2012", data_dir=data_dir)
        builder.download_and_prepare(download_config=config, file_format="tfrecord")
    else:
        check = variant.removeprefix("hamgan_")
        prepare(Request(Imagenet(tars, check=check), data_dir, get_forms(["original"])))
    seconds = time.perf_counter() - begun
    peak = memory.stop()
    info = tfds.builder("imagenet2012", data_dir=data_dir).info
    images = sum(info.splits[split].num_examples for split in SPLITS)
    return {"images_per_second": images / seconds, "seconds": seconds, "peak_bytes": peak}


def measure_decoding(folder: str) -> dict[str, float]:
    """Decodes the pictures of a folder, each several times; returns images/s."""
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    photographs.decode(paths)  # fills the page cache
    begun = time.perf_counter()
    decoded = photographs.decode(paths * (DECODED_IMAGES // len(paths)))
    return {"images_per_second": decoded / (time.perf_counter() - begun)}


def measure_memory() -> dict[str, float]:
    """Copies arrays in a thread for each core; returns the bytes written per second, median of several times."""
    cores = len(os.sched_getaffinity(0))
    sources = [np.ones(COPIED_BYTES // cores, np.uint8) for _ in range(cores)]
    targets = [np.zeros_like(source) for source in sources]
    rates = []
    with concurrent.futures.ThreadPoolExecutor(cores) as threads:
        for _ in range(COPIES):
            begun = time.perf_counter()
            list(threads.map(np.copyto, targets, sources))  # without Python's lock
            rates.append(COPIED_BYTES / (time.perf_counter() - begun))
    return {"bytes_per_second": statistics.median(rates)}


def measure_reading(variant: str, data_dir: str) -> dict[str, float]:
    """Reads training batches for ``READ_SECONDS``; returns images/s."""
    from hamgan.config import DataConfig
    from hamgan.data.dataset import ClassificationDataset

    if variant == "records":
        batches = _record_batches(READINGS["fast"], data_dir)
    else:
        dataset = ClassificationDataset(DataConfig(READINGS[variant], data_dir, shuffle_buffer=1000))
        batches = iter(dataset.training_batches(resolution=RESOLUTION, batch=BATCH, seed=0))
    for _ in range(WARM_UP_BATCHES):
        next(batches)
    begun, read = time.perf_counter(), 0
    while time.perf_counter() - begun < READ_SECONDS:
        next(batches)
        read += BATCH
    return {"images_per_second": read / (time.perf_counter() - begun)}


MEASURES: dict[str, Callable[..., dict[str, float]]] = {
    "preparation": measure_preparation,
    "decoding": measure_decoding,
    "reading": measure_reading,
    "memory": measure_memory,
}


def _record_batches(name: str, data_dir: str) -> Iterator[Any]:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    paths = tfds.builder(name, data_dir=data_dir).info.splits["train"].filepaths
    return iter(tf.data.TFRecordDataset(paths).repeat().batch(BATCH).prefetch(tf.data.AUTOTUNE))


def _command(kind: str, *values: str) -> list[str]:
    return [sys.executable, os.path.abspath(__file__), "--measure", kind, *values]


def _summaries(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        variant: {quantity: benchmarking.summary([run[quantity] for run in results]) for quantity in results[0]}
        for variant, results in runs.items()
    }


def _disk_bytes(source: str) -> int:
    return sum(os.path.getsize(os.path.join(source, name)) for name in os.listdir(source))


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Creates images and measures preparation and reading; returns the results."""
    if not IMAGES_PER_CLASS <= arguments.images <= MOST_IMAGES:
        raise UserError(f"--images must be from {IMAGES_PER_CLASS} to {MOST_IMAGES}, found {arguments.images}")
    if arguments.folder and not os.path.isdir(arguments.folder):
        raise UserError(f"--folder must be an existing folder, found {arguments.folder}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        return _measure_in(folder, arguments.images, arguments.repeats)


def _measure_in(folder: str, images: int, repeats: int) -> dict[str, Any]:
    source, data_dir = os.path.join(folder, "source"), os.path.join(folder, "data")
    make_source(source, images // IMAGES_PER_CLASS)
    pictures = os.path.join(folder, "pictures")
    photographs.write(pictures, DISTINCT_IMAGES)
    preparing = {
        variant: _command("preparation", variant, source, data_dir) for variant in PREPARATIONS if variant != LIMIT
    }
    preparing[LIMIT] = _command("decoding", pictures)
    preparation = _summaries(benchmarking.interleaved(preparing, repeats))
    shutil.rmtree(data_dir)
    source_bytes = _disk_bytes(source)
    shutil.rmtree(source)

    make_source(source, READ_CLASSES)
    command = ["prepare", "imagenet", "--source", source, "--data_dir", data_dir, "--form", "original", "128"]
    subprocess.run([sys.executable, "-c", "from hamgan.cli.main import run; run()", *command], check=True)
    reading_commands = {variant: _command("reading", variant, data_dir) for variant in READINGS}
    benchmarking.interleaved(reading_commands, 1)  # fills the page cache
    reading_commands["memory"] = _command("memory")
    reading = _summaries(benchmarking.interleaved(reading_commands, repeats))
    memory = reading.pop("memory")
    return {
        "config": {"images": images, "source_bytes": source_bytes, "repeats": repeats, "batch": BATCH},
        "preparation": preparation,
        "reading": reading,
        "memory": memory,
    }


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config = results["config"]
    lines = [
        "# Preparing and reading ImageNet",
        "",
        benchmarking.provenance(results),
        "",
        f"{config['images']:,} images in tars of {config['source_bytes'] / 1e9:.1f} GB, not in the page cache at the "
        f"start of a run. Medians (ranges) over {config['repeats']} interleaved processes.",
    ]
    decoding = results["preparation"][LIMIT]["images_per_second"]["median"]
    memory = results["memory"]["bytes_per_second"]["median"]
    lines += _table("preparation", PREPARATIONS, results["preparation"], "stock", "decoding", 1 / decoding)
    lines += _table("reading", READINGS, results["reading"], "original", "copying", IMAGE_BYTES / memory)
    lines += [
        "",
        "Of decoding: the share of the speed at which Pillow decodes such images in a thread for each core, into "
        f"nothing. Of copying: images/s x {IMAGE_BYTES / 1e3:.0f} KB of float32 as a share of the {memory / 1e9:.1f} "
        "GB/s that the cores write when they copy memory.",
    ]
    return "\n".join([*lines, "", f"![images/s]({figure})", ""])


def _table(
    title: str, names: Mapping[str, str], rows: Mapping[str, Any], base: str, limit: str, per_image: float
) -> list[str]:
    """Returns a table of images/s with the ratio to ``base`` and the share of a limit, which is ``per_image`` each."""
    speeds = {variant: row["images_per_second"] for variant, row in rows.items()}
    return [
        "",
        f"| {title} | images/s | speedup | of {limit} |",
        "|---|---|---|---|",
        *(
            f"| {names[variant]} | {speed['median']:,.0f} ({speed['min']:,.0f}-{speed['max']:,.0f}) "
            f"| {speed['median'] / speeds[base]['median']:.2f} | {speed['median'] * per_image:.2f} |"
            for variant, speed in speeds.items()
        ),
    ]


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws images/s of preparation and reading."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=FIGURE_INCHES, layout="constrained")
    for ax, (title, names) in zip(axes, (("preparation", PREPARATIONS), ("reading", READINGS)), strict=True):
        rows = list(results[title].items())[::-1]
        labels = [textwrap.fill(names[variant].replace("`", ""), LABEL_WIDTH) for variant, _ in rows]
        ax.barh(labels, [row["images_per_second"]["median"] for _, row in rows])
        ax.set(title=title, xlabel="images/s")
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "data")
    parser.add_argument("--folder", metavar="DIR", help="working folder (default: a temporary folder)")
    parser.add_argument(
        "--images", type=benchmarking.positive, default=30_000, metavar="N", help="images to prepare (default: 30000)"
    )
    benchmarking.add_repeats(parser)
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, *rest = arguments.measure
        print(json.dumps(MEASURES[kind](*rest)))
        return
    benchmarking.run(arguments, lambda: measure_all(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
