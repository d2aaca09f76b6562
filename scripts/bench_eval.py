"""How long does it take, and how much memory, to score features that are on disk?

  python scripts/bench_eval.py --out bench_eval.json [--images 50000] [--width 2048] [--classes 1008]

Writes made-up features of both splits and of the fakes to disk, and scores them as "hamgan evaluate" does, with all
that can be asked for. Times and peak memory are of the whole process, TensorFlow and what it maps from disk included.
Nothing else should be running; takes some minutes at the default size, and 2.5 GB of disk.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hamgan.config import EvaluationConfig
from hamgan.evaluation.feature_store import Features, FeatureStore
from hamgan.evaluation.scores import RealReference, score_repeats

ROWS_AT_ONCE = 2_500


def main() -> None:
    """Measures and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON goes")
    parser.add_argument("--images", type=int, default=50_000, metavar="N", help="of each split, and fakes")
    parser.add_argument("--width", type=int, default=2_048, metavar="N", help="of pool_3")
    parser.add_argument("--classes", type=int, default=1_008, metavar="N", help="logits")
    parser.add_argument("--neighbors", type=int, default=10_000, metavar="N", help="images for precision and recall")
    parser.add_argument("--bootstrap", type=int, default=2, metavar="N", help="resamples")
    arguments = parser.parse_args()

    stages: dict[str, dict[str, float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        result = function()
        stages[name] = {"seconds": time.monotonic() - begun, "peak_gib": _peak_gib()}
        print(f"{name}: {stages[name]['seconds']:.1f} s, {stages[name]['peak_gib']:.2f} GiB at most so far", flush=True)
        return result

    with tempfile.TemporaryDirectory() as folder:
        validation, train, fakes = timed(
            "features written to disk", lambda: [_made_up(folder, arguments, seed) for seed in range(3)]
        )
        real = timed("real images", lambda: RealReference(validation, train, arguments.classes))
        settings = EvaluationConfig(num_samples=arguments.images, neighbors_samples=arguments.neighbors)
        plain = timed("scores", lambda: score_repeats([fakes], real, settings, []))
        everything = dataclasses.replace(settings, bootstrap=arguments.bootstrap, fid_infinity=True)
        timed(
            "scores, with bootstrap, FID at infinity and 10 classes",
            lambda: score_repeats([fakes], real, everything, range(10)),
        )

    results = {
        "device": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "numpy")},
        "arguments": {**vars(arguments), "out": None},
        "stages": stages,
        "peak_gib": _peak_gib(),
        "scores": plain["scores"],
    }
    with open(arguments.out, "w") as file:
        json.dump(results, file, indent=1)


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _made_up(folder: str, arguments: argparse.Namespace, seed: int) -> Features:
    """Non-negative features with correlations, like pool_3's, and logits that favour the labels."""
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
    main()
