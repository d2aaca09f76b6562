"""How much time and memory does it take to score features stored on disk?

  python scripts/benchmarks/eval.py [--images 50000] [--width 2048] [--classes 1008]

Writes random features of both splits and of generated images to disk, and scores them as "hamgan evaluate" does, with
all optional scores. Times and peak memory are those of the whole process, including TensorFlow. Memory is given with
and without mapped files (features and code), which the system can drop at any time.

Writes JSON, a page and a figure. Needs several minutes at the default size, 2.5 GB of disk space and an otherwise idle
machine.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import benchmarking
import numpy as np
from process_tree import PeakMemory, memory_without_files

from hamgan.config import EvaluationConfig
from hamgan.evaluation.features import Features, FeatureStore
from hamgan.evaluation.scores import RealReference, score_repeats

SETTINGS = ("images", "width", "classes", "neighbors", "bootstrap")
ROWS_AT_ONCE = 2_500
FIGURE_INCHES = (8.0, 3.0)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes and scores features; returns seconds of each stage, and peak memory up to its end."""
    stages: dict[str, dict[str, float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        found: list[Any] = []
        peak = PeakMemory(memory_without_files)
        taken = benchmarking.seconds(lambda: found.append(function()))
        stages[name] = {
            "seconds": taken,
            "peak_bytes_without_files": peak.stop(),
            "peak_bytes": benchmarking.peak_bytes(),
        }
        print(f"{name}: {taken:.1f} s", file=sys.stderr, flush=True)
        return found[0]

    with tempfile.TemporaryDirectory() as folder:
        validation, train, fakes = timed(
            "features written to disk", lambda: [_random_features(folder, arguments, seed) for seed in range(3)]
        )
        real = timed("real images", lambda: RealReference(validation, train, arguments.classes))
        settings = EvaluationConfig(num_samples=arguments.images, neighbors_samples=arguments.neighbors)
        plain = timed("scores", lambda: score_repeats([fakes], real, settings, []))
        everything = dataclasses.replace(settings, bootstrap=arguments.bootstrap, fid_infinity=True)
        timed(
            "scores, with bootstrap, FID at infinity and 10 classes",
            lambda: score_repeats([fakes], real, everything, range(10)),
        )
    config = {name: getattr(arguments, name) for name in SETTINGS}
    return {"config": config, "stages": stages, "scores": plain["scores"]}


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config = results["config"]
    return "\n".join(
        [
            "# Scoring features",
            "",
            benchmarking.provenance(results),
            "",
            f"{config['images']:,} generated images and as many images of each split, with random features on disk: "
            f"pool_3 of width {config['width']:,} and {config['classes']:,} logits. Precision and recall use "
            f"{config['neighbors']:,} images, the bootstrap {config['bootstrap']} resamples. Memory is the peak during "
            "the stage without mapped files (features and code), and with them up to the end of the stage. One run.",
            "",
            "| stage | seconds | peak memory | with mapped files |",
            "|---|---|---|---|",
            *(
                f"| {name} | {stage['seconds']:.1f} | {stage['peak_bytes_without_files'] / 1e9:.2f} GB "
                f"| {stage['peak_bytes'] / 1e9:.2f} GB |"
                for name, stage in results["stages"].items()
            ),
            "",
            f"![seconds]({figure})",
            "",
        ]
    )


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the seconds of each stage."""
    seconds = {name: stage["seconds"] for name, stage in results["stages"].items()}
    benchmarking.draw_bars(seconds, "s", FIGURE_INCHES, path)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "eval")
    parser.add_argument(
        "--images",
        type=benchmarking.positive,
        default=50_000,
        metavar="N",
        help="images of each split, and generated images",
    )
    parser.add_argument("--width", type=benchmarking.positive, default=2_048, metavar="N", help="width of pool_3")
    parser.add_argument("--classes", type=benchmarking.positive, default=1_008, metavar="N", help="number of logits")
    parser.add_argument(
        "--neighbors", type=benchmarking.positive, default=10_000, metavar="N", help="images for precision and recall"
    )
    parser.add_argument("--bootstrap", type=benchmarking.positive, default=2, metavar="N", help="bootstrap resamples")
    arguments = parser.parse_args()
    benchmarking.run(arguments, lambda: measure(arguments), page, draw)


def _random_features(folder: str, arguments: argparse.Namespace, seed: int) -> Features:
    """Returns correlated non-negative features, like those of pool_3, and logits that favour the labels."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(100).normal(size=(arguments.width, arguments.width)).astype(np.float32) * 0.02
    store = FeatureStore(folder, {"seed": seed}, arguments.images)
    while not store.is_complete:
        count = min(ROWS_AT_ONCE, arguments.images - store.rows)
        labels = rng.integers(arguments.classes, size=count)
        pool_3 = np.maximum(rng.standard_normal((count, arguments.width), np.float32) @ mixing + 0.01 * seed, 0)
        logits = rng.standard_normal((count, arguments.classes), np.float32)
        logits[np.arange(count), labels] += 6.0
        store.append(logits, pool_3, labels)
    return store.features()


if __name__ == "__main__":
    benchmarking.run_script(main)
