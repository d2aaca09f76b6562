"""Write an interpolation between classes and between seeds, as a strip or an animation.

hamgan interpolate --run runs/digits --classes 3,8 --out strip.png
hamgan interpolate --run runs/digits --classes 0,1,2 --seeds 4 --loop --scale 4 --out classes.gif
hamgan interpolate --run runs/digits --classes 7 --seeds 0,1,2 --frames 48 --loop --out sevens.mp4
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_run, check_output, positive_integer
from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="strip (.png), or animation (.gif, .webp; .mp4 needs ffmpeg)"
    )
    parser.add_argument(
        "--classes", metavar="LIST", help="class of each key point, such as 3,7,3, or one class for all of them"
    )
    parser.add_argument(
        "--seeds",
        default="0",
        metavar="LIST",
        help="seed of each key point, such as 0,1,2, or one seed for all of them (default: 0)",
    )
    parser.add_argument(
        "--latents", metavar="FILE", help="latent vectors of the key points (.npz), instead of those of seeds"
    )
    parser.add_argument(
        "--frames",
        type=positive_integer,
        default=24,
        metavar="N",
        help="number of frames from one key point to the next (default: 24)",
    )
    parser.add_argument("--loop", action="store_true", help="return from the last key point to the first")
    parser.add_argument(
        "--truncation", type=float, metavar="T", help="bound of the latent vectors of seeds (default: none)"
    )
    parser.add_argument(
        "--rows", type=positive_integer, default=1, metavar="N", help="number of samples of each seed (default: 1)"
    )
    parser.add_argument(
        "--columns", type=positive_integer, metavar="N", help="number of frames in a strip (default: at most 13)"
    )
    parser.add_argument("--fps", type=float, metavar="N", help="frames per second of an animation (default: 24)")
    parser.add_argument(
        "--scale", type=positive_integer, default=1, metavar="N", help="enlarge images by a whole factor (default: 1)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    seeds = _seeds(arguments.seeds)
    if arguments.classes is None and arguments.latents is None:
        raise UserError("expected key points: --classes, such as 3,8 for two classes, or --latents; found neither")
    check_output("--out", arguments.out)

    import_tensorflow_quietly()
    from hamgan.sampling.class_choice import parse_class_list
    from hamgan.sampling.frame_files import check_frame_file, write_frames
    from hamgan.sampling.interpolation import step_sizes
    from hamgan.sampling.latents import read_latents
    from hamgan.sampling.trained import load

    file_options = {"fps": arguments.fps, "columns": arguments.columns, "scale": arguments.scale}
    check_frame_file(arguments.out, **file_options)
    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    model = trained.config.model
    latents = None
    if arguments.latents is not None:
        latents = read_latents(arguments.latents, z_dim=model.generator.z_dim, num_classes=model.num_classes)
    frames = trained.interpolate(
        None if arguments.classes is None else parse_class_list(arguments.classes, trained),
        seeds=seeds,
        latents=latents,
        frames=arguments.frames,
        loop=arguments.loop,
        truncation=arguments.truncation,
        rows=arguments.rows,
    )
    write_frames(arguments.out, frames, loop=arguments.loop, **file_options)
    steps = step_sizes(frames, loop=arguments.loop)
    print(
        f"{counted(len(frames), 'frame')} of step {trained.step}; between neighbours, pixels change by "
        f"{steps.mean():.2f} gray levels on average, {steps.max():.2f} at most  {arguments.out}"
    )


def _seeds(text: str) -> list[int]:
    items = text.split(",")
    if not all(item.strip().isdecimal() for item in items):
        raise UserError(f"--seeds: expected whole numbers separated by commas, such as 0,1,2, found '{text}'")
    return [int(item) for item in items]
