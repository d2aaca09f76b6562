"""How fast is ImageNet prepared, and how fast is it read?

  python scripts/bench_data.py --out bench_data.json [--folder DIR] [--images 30000] [--repeats 5]

Preparation: images/s of ``hamgan prepare imagenet`` (checking every image's structure, or decoding it) over those of
the stock TFDS builder (which checks none), from the same tars, which are out of the page cache when each run begins.
The clock runs from the call to its return, with the libraries imported.

Reading: shuffled training images/s of ``imagenet_hamgan/128`` over those of ``imagenet2012``, at 128x128, in the page
cache.

The images are crops of two real photographs, of about ILSVRC 2012's mean size in pixels and in bytes. Each run is a
process of its own; the variants take turns; reported are medians and ranges, and the ratios of medians. Needs about 5
times the size of the tars (105 KB an image) on disk, and nothing else running.
"""

import argparse
import importlib.metadata
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil

SPLITS = ("train", "validation")
IMAGES_PER_CLASS = 100
VALIDATION_PER_CLASS = 1
DISTINCT_IMAGES = 200
READ_CLASSES = 40
BATCH = 64
WARM_UP_BATCHES = 20
READ_SECONDS = 8.0
PREPARATIONS = ("stock", "hamgan_structure", "hamgan_full")
READINGS = {"original": "imagenet2012", "fast": "imagenet_hamgan/128"}


def make_source(folder: str, classes: int) -> None:
    """Writes tars of crops of scikit-learn's photographs."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from data_prep.fake_imagenet import write_fake_imagenet
    from data_prep.ilsvrc import synsets

    rng = np.random.default_rng(0)
    photographs = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    jpegs = []
    for index in range(DISTINCT_IMAGES):
        photograph = photographs[index % len(photographs)]
        width, height = int(rng.integers(340, 600)), int(rng.integers(290, photograph.height))
        x, y = int(rng.integers(photograph.width - width)), int(rng.integers(photograph.height - height))
        buffer = io.BytesIO()
        quality = int(rng.integers(96, 100))
        photograph.crop((x, y, x + width, y + height)).save(buffer, "JPEG", quality=quality)
        jpegs.append(buffer.getvalue())
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
    """Prepares the tars once; returns images/s and peak memory."""
    from data_prep.local_workers import start_importing

    if variant != "stock":
        start_importing()
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from data_prep.forms import get_forms
    from data_prep.preparation import Selection
    from data_prep.prepare_imagenet import Request, prepare_imagenet
    from data_prep.sources import find_split

    assert tf.executing_eagerly()
    tars = {split: find_split(source, split) for split in SPLITS}
    for path in tars.values():
        _drop_from_page_cache(path)
    memory = _PeakMemory()
    begun = time.perf_counter()
    if variant == "stock":
        config = tfds.download.DownloadConfig(manual_dir=source)
        builder = tfds.builder("imagenet2012", data_dir=data_dir)
        builder.download_and_prepare(download_config=config, file_format="tfrecord")
    else:
        check = variant.removeprefix("hamgan_")
        prepare_imagenet(Request(tars, data_dir, get_forms(["original"]), Selection(), check=check))
    seconds = time.perf_counter() - begun
    peak = memory.stop()
    info = tfds.builder("imagenet2012", data_dir=data_dir).info
    images = sum(info.splits[split].num_examples for split in SPLITS)
    return {"images_per_second": images / seconds, "seconds": seconds, "peak_memory_mb": peak / 2**20}


def measure_reading(variant: str, data_dir: str) -> dict[str, float]:
    """Reads training batches for a while; returns images/s."""
    from hamgan.config import DataConfig
    from hamgan.data.dataset import ClassificationDataset

    dataset = ClassificationDataset(DataConfig(READINGS[variant], data_dir, shuffle_buffer=1000))
    batches = iter(dataset.training_batches(resolution=128, batch=BATCH, seed=0))
    for _ in range(WARM_UP_BATCHES):
        next(batches)
    begun, read = time.perf_counter(), 0
    while time.perf_counter() - begun < READ_SECONDS:
        next(batches)
        read += BATCH
    return {"images_per_second": read / (time.perf_counter() - begun)}


class _PeakMemory:
    """Proportional memory of this process and all below it, sampled."""

    def __init__(self) -> None:
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(1.0):
            total = 0
            process = psutil.Process()
            for member in [process, *process.children(recursive=True)]:
                try:
                    total += member.memory_full_info().pss
                except psutil.Error:
                    continue
            self._peak = max(self._peak, total)

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self._peak


def _drop_from_page_cache(path: str) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _in_own_process(measurement: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, os.path.abspath(__file__), "--measure", measurement, *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    return json.loads(output.splitlines()[-1])


def _interleaved(
    variants: list[str], repeats: int, measure: Callable[[str], dict[str, float]]
) -> dict[str, dict[str, object]]:
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in variants}
    for _ in range(repeats):
        for variant in variants:
            runs[variant].append(measure(variant))
            print(f"{variant:<14}{runs[variant][-1]['images_per_second']:>10,.0f} images/s", file=sys.stderr)
    summary = {}
    for variant, results in runs.items():
        speeds = [result["images_per_second"] for result in results]
        summary[variant] = {
            "median_images_per_second": statistics.median(speeds),
            "range": [min(speeds), max(speeds)],
            "runs": results,
        }
    return summary


def _over(summary: dict[str, dict[str, object]], variant: str, base: str) -> float:
    speeds = [summary[name]["median_images_per_second"] for name in (variant, base)]
    return float(speeds[0]) / float(speeds[1])  # type: ignore[arg-type]


def _disk_bytes(source: str) -> int:
    return sum(os.path.getsize(os.path.join(source, name)) for name in os.listdir(source))


def main() -> None:
    """Measures and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", help="where the JSON goes")
    parser.add_argument("--folder", metavar="DIR", help="where to work (default: a temporary folder)")
    parser.add_argument("--images", type=int, default=30_000, metavar="N", help="images to prepare (default: 30000)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="runs of each variant (default: 5)")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, *rest = arguments.measure
        print(json.dumps(measure_preparation(*rest) if kind == "preparation" else measure_reading(*rest)))
        return
    if not arguments.out:
        parser.error("expected --out FILE")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        results = _measure_all(folder, arguments.images, arguments.repeats)
    with open(arguments.out, "w") as file:
        json.dump(results, file, indent=1)
    print(json.dumps({name: results[name] for name in ("preparation_over_stock", "reading_over_original")}, indent=1))


def _measure_all(folder: str, images: int, repeats: int) -> dict[str, object]:
    source, data_dir = os.path.join(folder, "source"), os.path.join(folder, "data")
    make_source(source, images // IMAGES_PER_CLASS)

    def prepare(variant: str) -> dict[str, float]:
        shutil.rmtree(data_dir, ignore_errors=True)
        os.sync()
        return _in_own_process("preparation", variant, source, data_dir)

    preparation = _interleaved(list(PREPARATIONS), repeats, prepare)
    shutil.rmtree(data_dir)
    source_bytes = _disk_bytes(source)
    shutil.rmtree(source)

    make_source(source, READ_CLASSES)
    command = ["prepare", "imagenet", "--source", source, "--data_dir", data_dir, "--form", "original", "128"]
    subprocess.run([sys.executable, "-c", "from hamgan.cli.main import run; run()", *command], check=True)
    for variant in READINGS:  # into the page cache
        _in_own_process("reading", variant, data_dir)
    reading = _interleaved(list(READINGS), repeats, lambda variant: _in_own_process("reading", variant, data_dir))
    return {
        "device": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {
            name: importlib.metadata.version(name) for name in ("tensorflow", "tensorflow-datasets", "simplejpeg")
        },
        "config": {"images": images, "source_bytes": source_bytes, "repeats": repeats, "batch": BATCH},
        "preparation": preparation,
        "reading": reading,
        "preparation_over_stock": {
            variant: _over(preparation, variant, "stock") for variant in PREPARATIONS if variant != "stock"
        },
        "reading_over_original": _over(reading, "fast", "original"),
    }


if __name__ == "__main__":
    main()
