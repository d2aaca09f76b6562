"""Write a web page to explore a trained generator: one HTML file that needs no server and no network.

The page has a class picker, a truncation slider, interpolations, directions of the latent space and the training images
that are nearest to samples. All pictures are computed now.

  hamgan explore --run runs/digits --classifier data/digits_classifier
  hamgan explore --run digits --no_neighbors --out digits.html
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_data_dir, add_page, add_run, page_path
from hamgan.program import import_tensorflow_quietly

_NAME = "explorer.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    add_page(parser, _NAME)
    parser.add_argument("--classes", metavar="LIST", help="classes to show (default: 12, spread over all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the latent vectors (default: 0)")
    parser.add_argument(
        "--max_size", type=float, default=20.0, metavar="MB", help="maximum size of the page (default: 20)"
    )
    parser.add_argument("--no_neighbors", action="store_true", help="leave out the nearest training images")
    parser.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel for the nearest training images (default: the run's)",
    )
    parser.add_argument(
        "--cache_dir", metavar="DIR", help="local folder for features (default: ~/.cache/hamgan/features)"
    )
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    out = page_path(arguments.out, arguments.run, _NAME)

    import_tensorflow_quietly()
    from hamgan.explorer.page import explore
    from hamgan.runs.directory import RunDirectory
    from hamgan.runs.report import write_report
    from hamgan.sampling.class_choice import parse_class_list
    from hamgan.sampling.trained import load

    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    explore(
        trained,
        out,
        classes=None if arguments.classes is None else parse_class_list(arguments.classes, trained),
        seed=arguments.seed,
        neighbors=not arguments.no_neighbors,
        classifier=arguments.classifier,
        data_dir=arguments.data_dir,
        cache_dir=arguments.cache_dir,
        max_megabytes=arguments.max_size,
    )
    if arguments.out is None:
        write_report(RunDirectory(arguments.run))
    print(f"Page  {out}")
