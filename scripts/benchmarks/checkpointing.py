"""What share of the training time do checkpoints block the training loop?

  python scripts/benchmarks/checkpointing.py --data_dir data --out checkpointing.json [--preset digits] [--intervals 5]

Trains a preset for several checkpoint intervals, without sample images. Measures the time that the loop waits while a
checkpoint is copied, and the time that the background thread takes to write it. The first interval, which compiles the
step, is excluded. Run it on an otherwise idle machine.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from unittest import mock

import benchmarking
import tensorflow as tf

from hamgan.cli.options import check_output
from hamgan.config import override, to_dict
from hamgan.config.presets import get_preset
from hamgan.distribution.strategies import create_strategy
from hamgan.runs.directory import RunDirectory
from hamgan.training import checkpoint_writer
from hamgan.training.checkpoint_writer import CheckpointWriter
from hamgan.training.gan import train


def main() -> None:
    """Measures, then writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, metavar="DIR", help="folder of the TFDS data sets")
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--preset", default="digits", metavar="NAME", help="preset to train (default: digits)")
    parser.add_argument("--intervals", type=int, default=5, metavar="N", help="intervals to measure (default: 5)")
    arguments = parser.parse_args()
    check_output("--out", arguments.out)

    config = get_preset(arguments.preset)
    steps = (arguments.intervals + 1) * config.train.checkpoint_every
    config = override(config, [f"data.data_dir={arguments.data_dir}", f"train.steps={steps}", "train.image_every=0"])
    copied, written = [], []
    save, write = CheckpointWriter.save, checkpoint_writer.write_checkpoint

    def timed_save(writer: CheckpointWriter, step: int) -> None:
        begun = time.monotonic()
        save(writer, step)
        copied.append((begun, time.monotonic()))

    def timed_write(path: str, variables: dict[str, tf.Variable]) -> None:
        begun = time.monotonic()
        write(path, variables)
        written.append(time.monotonic() - begun)

    strategy = create_strategy()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(CheckpointWriter, "save", timed_save),
        mock.patch.object(checkpoint_writer, "write_checkpoint", timed_write),
    ):
        run = RunDirectory(os.path.join(folder, "run"))
        train(config, run, strategy)
        speeds = [row["images_per_second"] for row in run.read_metrics()]
        size = sum(os.path.getsize(os.path.join(run.checkpoints, name)) for name in os.listdir(run.checkpoints))

    # An interval lasts from the end of one save to the end of the next. The first save precedes the first step; the
    # second follows compilation.
    intervals = [
        {"seconds": end - previous_end, "waited": end - begun, "part": (end - begun) / (end - previous_end)}
        for (_, previous_end), (begun, end) in itertools.pairwise(copied[1:])
    ]
    results = {
        "device": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
        "config": to_dict(config),
        "checkpoint_bytes": size / len(copied),
        "images_per_second": statistics.median(speeds),
        "seconds_writing": written,
        "intervals": intervals,
        "waiting_part": statistics.median(interval["part"] for interval in intervals),
        "waiting_part_range": [min(i["part"] for i in intervals), max(i["part"] for i in intervals)],
    }
    benchmarking.write_json(arguments.out, results)
    print(json.dumps({name: results[name] for name in ("waiting_part", "waiting_part_range")}, indent=1))


if __name__ == "__main__":
    benchmarking.run_script(main)
