"""Find the latent vector and the class of an image, by optimisation through the generator.

Writes latents.npz, for 'hamgan sample' and 'hamgan interpolate', and inversion.png: the image, its reconstruction and
their difference.

  hamgan invert seven.png --run runs/digits --classifier data/digits_classifier --out inverted
  hamgan invert dog.jpg --run runs/strong --class 207,208 --out inverted
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_run, check_output_folder, positive_integer
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("image", metavar="IMAGE", help="picture of any usual format; its central square is used")
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the latent vector and the picture")
    parser.add_argument(
        "--class",
        dest="classes",
        default="all",
        metavar="LIST",
        help="name or label of the class, or several to try, such as 3,7 (default: all)",
    )
    parser.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel whose features are compared, or none (default: the run's, if available)",
    )
    parser.add_argument(
        "--starts", type=positive_integer, metavar="N", help="number of latent vectors to start from (default: 16)"
    )
    parser.add_argument("--steps", type=positive_integer, metavar="N", help="number of optimiser steps (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the starts and initial bases (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if not 0 <= arguments.seed < 2**31:
        raise UserError(f"--seed must be in [0, 2^31), found {arguments.seed}")
    check_output_folder("--out", arguments.out)

    import_tensorflow_quietly()
    from hamgan.evaluation.classifier import classifier_or_none
    from hamgan.sampling.class_choice import parse_class_list
    from hamgan.sampling.inversion import STARTS, STEPS, invert, write_inversion
    from hamgan.sampling.trained import load

    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    result = invert(
        trained,
        arguments.image,
        classes=None if arguments.classes == "all" else parse_class_list(arguments.classes, trained, option="--class"),
        classifier=classifier_or_none(arguments.classifier, trained.config.evaluation.classifier),
        starts=arguments.starts or STARTS,
        steps=arguments.steps or STEPS,
        seed=arguments.seed,
    )
    latents_path, picture_path = write_inversion(result, arguments.out)
    distance = "none, without a classifier" if result.feature_distance is None else f"{result.feature_distance:.3f}"
    print(f"Class {trained.class_names[result.label]}  PSNR {result.psnr:.1f} dB  feature distance {distance}")
    print(f"Latents  {latents_path}")
    print(f"Picture  {picture_path}")
