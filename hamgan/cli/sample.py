"""Write a picture of samples, one class per row.

hamgan sample --run runs/digits --out digits.png
hamgan sample --run runs/strong --classes 207,281,985 --per_class 8 --seed 7 --out dogs_cats_daisies.png
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_run, check_output
from hamgan.config.class_lists import parse_classes
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, or a step")
    parser.add_argument("--out", required=True, metavar="PNG", help="path of the picture")
    parser.add_argument(
        "--classes", metavar="LIST", help="labels such as 0,3,7 or 0-9 (default: ten, spread over all classes)"
    )
    parser.add_argument("--per_class", type=int, default=10, metavar="N", help="number of images per row (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if arguments.per_class < 1:
        raise UserError(f"--per_class must be positive, found {arguments.per_class}")
    if not 0 <= arguments.seed < 2**31:
        raise UserError(f"--seed must be in [0, 2^31), found {arguments.seed}")
    check_output("--out", arguments.out)

    import_tensorflow_quietly()
    import tensorflow as tf

    from hamgan.files import write_atomically
    from hamgan.sampling.grids import grid_classes, image_grid
    from hamgan.sampling.trained import load

    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    num_classes = trained.config.model.num_classes
    classes = (
        parse_classes(arguments.classes, num_classes, "--classes") if arguments.classes else grid_classes(num_classes)
    )
    images = trained.sample(classes, per_class=arguments.per_class, seed=arguments.seed)
    names = [trained.class_names[label] for label in classes]
    grid = image_grid(images, columns=arguments.per_class, row_names=names)
    write_atomically(arguments.out, tf.io.encode_png(grid).numpy())
    print(f"Samples of step {trained.step}  {arguments.out}")
