"""Score a segmentation network: mIoU, accuracies and a table of classes.

hamnet evaluate --run runs/voc
hamnet evaluate --run runs/voc --checkpoint all
hamnet evaluate --run runs/voc --multi_scale
hamnet evaluate --run runs/voc --num_steps 1-10,12,15,20,30
hamnet evaluate --run hamnet.keras --dataset voc2012 --data_dir data
hamnet evaluate --run segnext_tiny.keras --dataset streets --data_dir data --short_side 512

The default is the validation split with the settings of the run: for the presets, the published single-scale evaluation
of whole images, one by one. Results are files in the run folder, with a page, evaluation.html, that shows the confusion
matrix and the worst images. Results that exist already are not computed again, so that the same command resumes after
an interruption.
"""

import argparse
import re

from hamgan.cli.inference_options import add_inference, inference_changes
from hamgan.cli.options import add_data_dir, add_dry_run, add_network, positive_integer
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_network(parser, "latest, best, all, a step, or the path of a checkpoint")
    parser.add_argument("--dataset", metavar="NAME", help="data set with the same classes (default: the run's)")
    parser.add_argument("--split", metavar="NAME", help="split to score (default: the validation split)")
    add_data_dir(parser)
    parser.add_argument(
        "--num_steps", metavar="LIST", help="iterations of the matrix decomposition, one result each, such as 1-10,12"
    )
    parser.add_argument(
        "--num_images", type=positive_integer, metavar="N", help="number of images, from the first on (default: all)"
    )
    parser.add_argument(
        "--batch", type=positive_integer, default=1, metavar="N", help="most images of equal size at once (default: 1)"
    )
    add_inference(parser)
    parser.add_argument(
        "--accelerator", default="auto", metavar="KIND", help="auto, cpu or gpu (default: auto: a GPU if there is one)"
    )
    add_dry_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    steps = _numbers(arguments.num_steps)
    import_tensorflow_quietly()
    from hamgan.distribution.strategies import select_device
    from hamgan.segmentation.evaluation.evaluate import iterations_table
    from hamgan.segmentation.evaluation.scoring_jobs import scoring_jobs

    select_device(arguments.accelerator)
    jobs = scoring_jobs(
        arguments.run,
        arguments.checkpoint,
        changes=[{**inference_changes(arguments), "num_steps": number} for number in steps],
        dataset=arguments.dataset,
        data_dir=arguments.data_dir,
        split=arguments.split,
        num_images=arguments.num_images,
    )
    for job in jobs:
        if arguments.dry_run:
            for line in job.describe():
                print(line)
        else:
            evaluations = job.evaluate(batch=arguments.batch)
            print(job.title)
            print(evaluations[0].table() if len(evaluations) == 1 else iterations_table(evaluations), flush=True)


def _numbers(text: str | None) -> list[int | None]:
    """Reads a list such as ``1-10,12``; None is the number of the network."""
    if text is None:
        return [None]
    numbers: list[int | None] = []
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", item)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UserError(f"--num_steps expects numbers and ranges such as 1-10,12, found '{text}'")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(numbers))
