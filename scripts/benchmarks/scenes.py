"""What does a Hamburger add to a small segmentation network?

  python scripts/benchmarks/scenes.py [--folder DIR] [--seeds 0 1 2]

Trains the preset scenes as it is and without its Hamburger (model.head.version=none), with the same seeds, and scores
the last checkpoint on the 300 validation scenes, at the scale of the preset. Reports mIoU and the CPU seconds of each
training, with user and system time of all threads, start and pictures included. A run that exists in the folder is not
trained again. One run on each core, with one thread for each operation.

Writes JSON, a page and a figure. Takes about half an hour on two cores. Training is deterministic.
"""

import argparse
import concurrent.futures
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import benchmarking
from tqdm import tqdm

PRESET = "scenes"
VARIANTS = {"HamNet": [], "without a Hamburger": ["model.head.version=none"]}
FIGURE_INCHES = (6.0, 2.5)
_TRAINING = "training.json"


def train_here(run: str, data_dir: str, overrides: list[str]) -> None:
    """Trains a run in a process of its own, and writes its CPU seconds beside it."""
    _hamnet(["train", "--run", run, "--preset", PRESET, "--data_dir", data_dir, "--override", *overrides])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    benchmarking.write_json(os.path.join(run, _TRAINING), {"cpu_seconds": usage.ru_utime + usage.ru_stime})


def measure_run(folder: str, name: str, overrides: list[str]) -> dict[str, float]:
    """Trains and scores one run, unless that is done already; returns its mIoU and CPU seconds."""
    from hamgan.runs.directory import RunDirectory
    from hamgan.segmentation.evaluation.evaluate_run import mean_iou_of

    run, data_dir = os.path.join(folder, "runs", name), os.path.join(folder, "data")
    training = os.path.join(run, _TRAINING)
    if not os.path.exists(training):
        # Another process, whose only child is the training.
        _call([sys.executable, __file__, "--train", run, data_dir, *overrides])
    _hamnet(["evaluate", "--run", run, "--batch", "20"])
    directory = RunDirectory(run)
    with open(training, encoding="utf-8") as file:
        steps = directory.read_segmentation_config().train.steps
        return {"mean_iou": mean_iou_of(directory), "steps": steps, **json.load(file)}


def measure(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Trains and scores all runs; returns the results."""
    _hamnet(["prepare", "scenes", "--data_dir", os.path.join(folder, "data")])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    runs = [(variant, seed) for seed in arguments.seeds for variant in VARIANTS]
    found: dict[str, dict[str, Any]] = {variant: {} for variant in VARIANTS}
    with concurrent.futures.ThreadPoolExecutor(cores) as threads, tqdm(total=len(runs), unit="run") as progress:
        futures = {
            threads.submit(
                measure_run,
                folder,
                f"{variant.replace(' ', '_')}_{seed}",
                [*VARIANTS[variant], f"train.seed={seed}"],
            ): (variant, seed)
            for variant, seed in runs
        }
        for future in concurrent.futures.as_completed(futures):
            variant, seed = futures[future]
            found[variant][str(seed)] = future.result()
            progress.update()
    ordered = {variant: {str(seed): rows[str(seed)] for seed in arguments.seeds} for variant, rows in found.items()}
    return {"config": {"seeds": arguments.seeds}, "variants": ordered}


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    rows = []
    for variant, runs in results["variants"].items():
        scores = [run["mean_iou"] for run in runs.values()]
        cpu = [run["cpu_seconds"] for run in runs.values()]
        rows.append([variant, ", ".join(f"{score:.3f}" for score in scores), _mean(scores), f"{max(cpu):,.0f}"])
    ours, other = results["variants"].values()
    gains = [ours[seed]["mean_iou"] - other[seed]["mean_iou"] for seed in ours]
    steps = next(iter(ours.values()))["steps"]
    return "\n".join(
        [
            "# Scenes of digits, with and without a Hamburger",
            "",
            benchmarking.provenance(results),
            "",
            f"The preset `{PRESET}`: {steps:,} steps. mIoU of the last checkpoint on the 300 validation scenes.",
            "",
            benchmarking.table(["network", "mIoU of each seed", "mean", "most CPU seconds of a training"], rows),
            "",
            f"Gain of the Hamburger with the same seed: {', '.join(f'{gain:+.3f}' for gain in gains)}, mean "
            f"{statistics.mean(gains):+.3f}.",
            "",
            f"![mIoU]({figure})",
            "",
        ]
    )


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the mIoU of each run."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=FIGURE_INCHES, layout="constrained")
    for place, runs in enumerate(results["variants"].values()):
        axes.plot([run["mean_iou"] for run in runs.values()], [-place] * len(runs), "o", alpha=0.6)
    axes.set_yticks([-place for place in range(len(results["variants"]))], list(results["variants"]))
    axes.set_ylim(-len(results["variants"]) + 0.5, 0.5)
    axes.set_xlabel("mIoU of each run")
    axes.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def _hamnet(arguments: list[str]) -> None:
    _call([sys.executable, "-m", "hamgan.cli.hamnet", *arguments])


def _call(command: list[str]) -> None:
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise benchmarking.BenchmarkError(f"{' '.join(command[1:4])} ended with exit code {process.returncode}: {last}")


def main() -> None:
    """Trains, then writes JSON, page and figure."""
    if sys.argv[1:2] == ["--train"]:
        train_here(sys.argv[2], sys.argv[3], sys.argv[4:])
        return
    parser = benchmarking.new_parser(__doc__, "scenes")
    parser.add_argument("--folder", metavar="DIR", help="folder of data and runs, kept (default: a temporary one)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.path.abspath(arguments.folder or temporary)
        benchmarking.run(arguments, lambda: measure(arguments, folder), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
