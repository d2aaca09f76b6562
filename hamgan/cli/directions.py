"""Find directions of the latent space along which images change most.

Writes directions.npz, and a picture of images along each direction: a few latent vectors as rows, and -3 to 3 standard
deviations as columns.

  hamgan directions --run runs/digits --out directions
  hamgan directions --run runs/strong --method ganspace --num 10 --classes 207,281,985 --out directions
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_run, check_output_folder, positive_integer
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the directions and pictures")
    parser.add_argument(
        "--method",
        default="sefa",
        metavar="NAME",
        help="sefa (of the first layer, closed form) or ganspace (PCA after the first block; default: sefa)",
    )
    parser.add_argument(
        "--num", type=positive_integer, default=5, metavar="K", help="number of directions (default: 5)"
    )
    parser.add_argument(
        "--classes", metavar="LIST", help="names or labels of the rows' classes, such as 0,3,7 (default: four)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the latent vectors (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    check_output_folder("--out", arguments.out)

    import_tensorflow_quietly()
    from hamgan.sampling.class_choice import parse_class_list
    from hamgan.sampling.directions import write_directions
    from hamgan.sampling.trained import load

    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    paths = write_directions(
        trained,
        arguments.out,
        method=arguments.method,
        num=arguments.num,
        classes=None if arguments.classes is None else parse_class_list(arguments.classes, trained),
        seed=arguments.seed,
    )
    print(f"Directions of step {trained.step}  {paths[0]}")
    print(f"Pictures  {paths[1]} to {paths[-1]}" if len(paths) > 2 else f"Picture  {paths[1]}")
