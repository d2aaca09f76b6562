"""Try everything: train two small networks on scenes of digits, one without context, and compare them.

Prepares scenes of handwritten digits on photographs, trains a small HamNet and the same network without its Hamburger
side by side, scores both, and predicts pictures, without a download. Each part is a command that you can also run by
itself, and is shown as such. After an interruption, run the same command again to resume.

  hamnet quickstart
  hamnet quickstart --out runs/short --override train.steps=300
"""

import argparse
import os

from hamgan.cli import evaluate_network, predict, prepare_masks, train_segmentation
from hamgan.cli.command_sequence import CommandSequence, Step, add_out, check_out
from hamgan.cli.options import add_override

PRESET = "scenes"
WITHOUT_CONTEXT = "model.head.version=none"
_PICTURES = 12
_COMMANDS = 6

_RESULTS = """
mIoU of HamNet             {with_context:.3f}
mIoU of the same network
without a Hamburger        {without_context:.3f}

Look at
  {out}/predictions/pairs/             validation images beside the predictions of HamNet
  {out}/hamnet/evaluation.html         scores, confusion of classes, worst images
  {out}/hamnet/report.html             curves and predictions over time
and, for programs
  {out}/predictions/masks/             the class of each pixel
  {out}/hamnet/metrics.jsonl           the training log; also 'tensorboard --logdir {out}'
  {out}/hamnet/checkpoints/            the weights
  {out}/data/                          the data set"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_out(parser, "runs/quickstart_segmentation")
    add_override(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    from hamgan.config import override
    from hamgan.config.segmentation_presets import get_segmentation_preset

    override(get_segmentation_preset(PRESET), arguments.override)  # Reports typos before any work.
    out = arguments.out
    check_out(out)
    data_dir, hamnet, without, pictures, predictions = (
        os.path.join(out, name) for name in ("data", "hamnet", "without_context", "pictures", "predictions")
    )

    def training(run_directory: str, *overrides: str) -> list[str]:
        options = ["--run", run_directory, "--preset", PRESET, "--data_dir", data_dir]
        settings = [*arguments.override, *overrides]
        return [*options, "--override", *settings] if settings else options

    def scoring(run_directory: str) -> list[str]:
        return ["--run", run_directory, "--batch", "20"]

    sequence = CommandSequence("hamnet", _COMMANDS, arguments.verbosity)
    sequence.run(Step("Prepare the scenes", "prepare", prepare_masks, ["scenes", "--data_dir", data_dir]))
    sequence.run_side_by_side(
        (
            Step("Train a small HamNet", "train", train_segmentation, training(hamnet)),
            Step("Train it without context", "train", train_segmentation, training(without, WITHOUT_CONTEXT)),
        )
    )
    sequence.run(Step("Score HamNet", "evaluate", evaluate_network, scoring(hamnet)))
    sequence.run(Step("Score the network without context", "evaluate", evaluate_network, scoring(without)))
    _write_pictures(hamnet, pictures)
    shown = ["--run", hamnet, "--images", pictures, "--out", predictions, "--write", "masks,pairs"]
    sequence.run(Step("Predict pictures", "predict", predict, shown))
    from hamgan.runs.directory import RunDirectory
    from hamgan.segmentation.evaluation.evaluate_run import mean_iou_of

    with_context, without_context = (mean_iou_of(RunDirectory(path)) for path in (hamnet, without))
    print(_RESULTS.format(out=out, with_context=with_context, without_context=without_context))


def _write_pictures(run_directory: str, folder: str) -> None:
    """Writes some validation images as files, which stand for the user's own pictures."""
    import tensorflow as tf

    from hamgan.files import write_atomically
    from hamgan.runs.directory import RunDirectory
    from hamgan.segmentation.data.dataset import SegmentationDataset

    dataset = SegmentationDataset(RunDirectory(run_directory).read_segmentation_config().data)
    images = dataset.evaluation_batches(dataset.config.validation_split, last=_PICTURES)
    os.makedirs(folder, exist_ok=True)
    for index, (image, _) in enumerate(images):
        path = os.path.join(folder, f"validation_{index:04d}.png")
        if not os.path.exists(path):  # Predictions of changed pictures would be made again.
            write_atomically(path, tf.io.encode_png(image[0]).numpy())
