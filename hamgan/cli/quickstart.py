"""Try everything: prepare digits, train on them, draw samples and score them.

Trains the preset "digits" on scikit-learn's 1,797 handwritten digits, within minutes on two CPU cores, without a
download. Each part is a command that you can also run by itself, and is shown as such. After an interruption, run the
same command again to resume.

  hamgan quickstart
  hamgan quickstart --out runs/wider --override model.generator.base_channels=32
"""

import argparse
import os

from hamgan.cli import evaluate, prepare, sample, train
from hamgan.cli.command_sequence import CommandSequence, Step, add_out, check_out
from hamgan.cli.options import add_override

_FILES = """
Look at
  {out}/samples.png           samples of the trained generator, one class per row
  {out}/digits/report.html    curves, scores, samples over time and settings
and, for programs
  {out}/digits/evaluations/   the scores of each checkpoint, as JSON
  {out}/digits/metrics.jsonl  the training log; also 'tensorboard --logdir {out}/digits'
  {out}/digits/checkpoints/   the weights
  {out}/data/                 the data set and the classifier"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_out(parser, "runs/quickstart")
    add_override(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    from hamgan.config import override
    from hamgan.config.presets import digits

    override(digits(), arguments.override)  # Reports typos before any work.
    # Operations are so small here that sharing one among threads costs a quarter more CPU time and gains nothing.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    out = arguments.out
    check_out(out)
    run_directory, data_dir, samples = (os.path.join(out, name) for name in ("digits", "data", "samples.png"))
    classifier = os.path.join(data_dir, "digits_classifier")
    overrides = ["--override", *arguments.override] if arguments.override else []
    training = ["--run", run_directory, "--preset", "digits", "--data_dir", data_dir, *overrides]
    scoring = ["--run", run_directory, "--checkpoint", "all", "--classifier", classifier]
    steps = (
        Step(
            "Prepare the digits, and a classifier to score with", "prepare", prepare, ["digits", "--data_dir", data_dir]
        ),
        Step("Train", "train", train, training),
        Step("Draw samples", "sample", sample, ["--run", run_directory, "--out", samples]),
        Step("Score", "evaluate", evaluate, scoring),
    )
    sequence = CommandSequence("hamgan", len(steps), arguments.verbosity)
    for step in steps:
        sequence.run(step)
    print(_FILES.format(out=out))
