"""Data sets of few digits, and runs of the preset digits that are trained and scored at several steps.

Shared by the benchmarks that compare ways to train. A run that exists already is resumed, and scored where it has no
scores yet.
"""

import argparse
import concurrent.futures
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import benchmarking
from tqdm import tqdm

DIGITS = "digits"
CLASSIFIER = "digits_classifier"
CHECKPOINT_EVERY = 200
FIGURE_INCHES = (8.0, 4.5)


class Run(NamedTuple):
    """A run to train and score.

    Args:
        name: name of its folder.
        dataset: name of the data set.
        steps: number of training steps.
        seed: seed of the run.
        overrides: further overrides of the preset.
        options: further options of ``hamgan train``.
    """

    name: str
    dataset: str
    steps: int
    seed: int
    overrides: Sequence[str] = ()
    options: Sequence[str] = ()


def prepare_digits(folder: str) -> None:
    """Prepares the digits and a classifier that was trained on all of them, in ``folder/data``."""
    run_hamgan(["prepare", "digits", "--data_dir", os.path.join(folder, "data")])


def prepare_subset(folder: str, name: str, *, labels: Sequence[int], per_class: int | None) -> None:
    """Prepares some digits as a data set, from pictures in class folders.

    Args:
        folder: folder of :func:`prepare_digits`.
        name: name of the data set, at 32x32.
        labels: digits to use.
        per_class: number of training images of each digit, the first ones in the order of TFDS; None for all. The
            validation split has all images.
    """
    import tensorflow as tf

    from hamgan.config import DataConfig
    from hamgan.data.dataset import ClassificationDataset

    source, data_dir = os.path.join(folder, name), os.path.join(folder, "data")
    dataset = ClassificationDataset(DataConfig(DIGITS, data_dir))
    for split in ("train", "validation"):
        counts = dict.fromkeys(labels, 0)
        for images, classes in dataset.evaluation_batches(split, resolution=32, batch=64).as_numpy_iterator():
            for image, label in zip(images, classes.tolist(), strict=True):
                if label not in counts or (split == "train" and counts[label] == per_class):
                    continue
                path = os.path.join(source, split, str(label), f"{counts[label]:04}.png")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                pixels = tf.cast(tf.round((image + 1.0) * 127.5), tf.uint8)
                tf.io.write_file(path, tf.io.encode_png(pixels))
                counts[label] += 1
    run_hamgan(["prepare", "folder", "--source", source, "--name", name, "--resolution", "32", "--data_dir", data_dir])


def scored(folder: str, runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """Trains and scores runs, one on each core.

    Args:
        folder: folder of :func:`prepare_digits`.
        runs: runs with different names.

    Returns:
        For each run by name, a row for each scored step: "step", "fid" and "real_fid", the FID of the training images.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(cores) as threads, tqdm(total=len(runs), unit="run") as progress:
        found = {}
        futures = {threads.submit(_scored, folder, run): run for run in runs}
        for future in concurrent.futures.as_completed(futures):
            found[futures[future].name] = future.result()
            progress.update()
    return found


def _scored(folder: str, run: Run) -> list[dict[str, Any]]:
    from hamgan.runs.directory import RunDirectory

    path, data_dir = os.path.join(folder, "runs", run.name), os.path.join(folder, "data")
    settings = [
        f"train.steps={run.steps}",
        f"train.seed={run.seed}",
        f"train.checkpoint_every={CHECKPOINT_EVERY}",
        "train.max_to_keep=100",
        "train.image_every=0",
        # Precision and recall are not compared.
        "evaluation.neighbors_samples=0",
    ]
    run_hamgan(
        [
            *("train", "--run", path, "--preset", DIGITS, "--dataset", f"{run.dataset}/32", "--data_dir", data_dir),
            *run.options,
            *("--override", *settings, *run.overrides),
        ]
    )
    classifier = os.path.join(data_dir, CLASSIFIER)
    run_hamgan(["evaluate", "--run", path, "--checkpoint", "all", "--classifier", classifier])
    return [
        {"step": result["step"], "fid": result["scores"]["fid"], "real_fid": result["real"]["fid"]}
        for result in RunDirectory(path).evaluations.own()
    ]


def best(rows: Sequence[Mapping[str, Any]]) -> float:
    """Returns the lowest FID of a run."""
    return min(row["fid"] for row in rows)


def run_benchmark(
    description: str | None,
    name: str,
    measure: Callable[[argparse.Namespace, str], dict[str, Any]],
    page: Callable[[Mapping[str, Any], str], str],
    draw: Callable[[Mapping[str, Any], str], None],
    *,
    steps: int,
) -> None:
    """Runs a benchmark of such runs; see :func:`benchmarking.run`.

    Args:
        description: docstring of the script.
        name: base name of the output files.
        measure: function from the options and a folder of data and runs to the results.
        page: function from results and name of the figure to Markdown.
        draw: function that draws the figure.
        steps: default number of training steps.
    """
    parser = benchmarking.new_parser(description, name)
    parser.add_argument("--folder", metavar="DIR", help="folder of data and runs, kept (default: a temporary one)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--steps", type=benchmarking.positive, default=steps, metavar="N", help=f"default: {steps:,}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.abspath(arguments.folder or temporary)
        benchmarking.run(arguments, lambda: measure(arguments, folder), page, draw)


def draw_curves(curves: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], floor: float, path: str) -> None:
    """Draws the mean FID over the steps, without step 0.

    Args:
        curves: rows of each run, by variant.
        floor: FID of the training images.
        path: file of the figure.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=FIGURE_INCHES, layout="constrained")
    for name, runs in curves.items():
        steps = sorted({row["step"] for rows in runs for row in rows if row["step"]})
        means = [statistics.mean(row["fid"] for rows in runs for row in rows if row["step"] == step) for step in steps]
        axes.plot(steps, means, label=name.replace("`", ""))
    axes.axhline(floor, color="gray", linestyle="--", label="training images")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("FID, mean over seeds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path)
    plt.close(figure)


def run_hamgan(arguments: Sequence[str]) -> None:
    """Runs a command of HamGAN with one thread per operation, as ``hamgan quickstart`` does."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
    command = [sys.executable, "-m", "hamgan.cli.main", *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise benchmarking.BenchmarkError(f"hamgan {arguments[0]} ended with exit code {process.returncode}: {last}")
