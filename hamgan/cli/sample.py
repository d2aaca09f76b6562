"""Write an image grid of samples, one class per row.

hamgan sample --run runs/digits --out digits.png
hamgan sample --run runs/strong --classes 207,281,985 --per_class 8 --seed 7 --out dogs_cats_daisies.png
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_run, check_output, weights_of
from hamgan.config.class_lists import parse_classes
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly

MAX_BATCH = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, or a step")
    parser.add_argument("--out", required=True, metavar="PNG", help="path of the image")
    parser.add_argument(
        "--classes", metavar="LIST", help="classes, such as 0,3,7 or 0-9 (default: ten, spread over all classes)"
    )
    parser.add_argument("--per_class", type=int, default=10, metavar="N", help="images per row (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")


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
    from hamgan.runs.directory import RunDirectory
    from hamgan.sampling.grids import grid_classes
    from hamgan.sampling.sampler import Sampler
    from hamgan.sampling.trained import find_checkpoint, load_generator

    run_directory = RunDirectory(arguments.run)
    config = run_directory.read_config()
    num_classes = config.model.num_classes
    classes = (
        parse_classes(arguments.classes, num_classes, "--classes") if arguments.classes else grid_classes(num_classes)
    )
    step, path = find_checkpoint(run_directory, arguments.checkpoint)
    generator = load_generator(config, path, weights_of(arguments, config))
    batch = min(MAX_BATCH, len(classes) * arguments.per_class)
    grid = Sampler(generator, seed=arguments.seed, batch=batch).grid(classes, arguments.per_class)
    write_atomically(arguments.out, tf.io.encode_png(grid).numpy())
    print(f"Samples of step {step}  {arguments.out}")
