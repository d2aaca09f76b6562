"""Show the training images that are nearest to samples: does the generator memorize?

Writes a page with samples beside their nearest training images, in the classifier's feature space, and the
distribution of the distances beside that of validation images.

  hamgan neighbors --run runs/digits --classifier data/digits_classifier
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_data_dir, add_page, add_run, page_path, positive_integer
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly

_NAME = "neighbors.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    add_page(parser, _NAME)
    parser.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel with outputs logits and pool_3 (default: the run's)",
    )
    parser.add_argument("--num", type=positive_integer, metavar="N", help="number of samples (default: 1000)")
    parser.add_argument(
        "--neighbors", type=positive_integer, metavar="K", help="training images beside each sample (default: 5)"
    )
    parser.add_argument(
        "--num_real",
        type=positive_integer,
        metavar="N",
        help="most real images to search (default: as in evaluations of the run)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--truncation", type=float, metavar="T", help="truncation of the latent vectors")
    parser.add_argument(
        "--cache_dir", metavar="DIR", help="local folder for features (default: ~/.cache/hamgan/features)"
    )
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if not 0 <= arguments.seed < 2**31:
        raise UserError(f"--seed must be in [0, 2^31), found {arguments.seed}")
    out = page_path(arguments.out, arguments.run, _NAME)

    import_tensorflow_quietly()
    from hamgan.evaluation.memorization import NEIGHBORS, NUM_SAMPLES, nearest_training_images
    from hamgan.evaluation.memorization_page import write_memorization_page
    from hamgan.runs.directory import RunDirectory
    from hamgan.runs.report import write_report
    from hamgan.sampling.trained import load

    found = nearest_training_images(
        load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights),
        num=arguments.num or NUM_SAMPLES,
        neighbors=arguments.neighbors or NEIGHBORS,
        num_real=arguments.num_real,
        seed=arguments.seed,
        truncation=arguments.truncation,
        classifier=arguments.classifier,
        data_dir=arguments.data_dir,
        cache_dir=arguments.cache_dir,
    )
    write_memorization_page(found, out)
    print(found.summary())
    if arguments.out is None:
        write_report(RunDirectory(arguments.run))
    print(f"Page  {out}")
