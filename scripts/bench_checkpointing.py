"""For which part of the time do checkpoints keep the training waiting?

  python scripts/bench_checkpointing.py --data_dir data --out bench_checkpointing.json [--preset digits] [--intervals 5]

Trains a preset over some of its checkpoint intervals, without pictures, and measures how long the loop waits for each
checkpoint to be copied, and how long it is written beside the training. The first interval, in which the step is
compiled, does not count. Nothing else should be running.
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
from hamgan.training.loop import train


def main() -> None:
    """Measures and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, metavar="DIR", help="where the TFDS data sets are")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON goes")
    parser.add_argument("--preset", default="digits", metavar="NAME", help="the settings (default: digits)")
    parser.add_argument("--intervals", type=int, default=5, metavar="N", help="how many are measured (default: 5)")
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

    # From the end of one save to the end of the next; the first ends before the first step, the second after compiling.
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
