"""Draw samples: a picture, a folder with a file for each, or arrays.

hamgan sample --run runs/digits --out digits.png
hamgan sample --run runs/strong --out cats_and_daisies.png --classes 'tabby,tiger cat,n02124075,985' --truncation 0.7
hamgan sample --run runs/strong --out samples/ --num 50000
hamgan sample --run runs/strong --out samples.npz --num 50000

Run the command for a folder again to resume it.
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_run, check_output
from hamgan.config import BATCH_NORM_MODES
from hamgan.counted import counted
from hamgan.program import import_tensorflow_quietly
from hamgan.sampling.output_kind import output_kind


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="a picture (.png, .jpg, .webp), a folder (a name that ends in / or has no ending), or arrays (.npz)",
    )
    parser.add_argument(
        "--classes",
        metavar="LIST",
        help="names, WordNet ids, labels such as 7 or '#7', and ranges such as 0-9, separated by commas; names with "
        "commas in double quotes (default: ten, spread over all, in a picture; random labels in a folder or .npz)",
    )
    parser.add_argument("--num", type=int, metavar="N", help="number of samples in a folder or .npz (default: 1000)")
    parser.add_argument(
        "--per_class", type=int, metavar="N", help="number of samples per row of a picture (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument(
        "--truncation", type=float, metavar="T", help="bound of the latent vectors; small: typical, less varied samples"
    )
    parser.add_argument(
        "--batch_norm",
        default="moving",
        choices=BATCH_NORM_MODES,
        help="batch normalisation statistics (default: moving averages)",
    )
    parser.add_argument("--latents", metavar="FILE", help="latent vectors to use, from an .npz file")
    parser.add_argument("--batch", type=int, default=50, metavar="N", help="number of images per batch (default: 50)")


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if output_kind(arguments.out) != "folder":
        check_output("--out", arguments.out)

    import_tensorflow_quietly()

    from hamgan.sampling.class_choice import parse_class_list
    from hamgan.sampling.trained import load

    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    saved = trained.save_samples(
        arguments.out,
        None if arguments.classes is None else parse_class_list(arguments.classes, trained),
        num=arguments.num,
        per_class=arguments.per_class,
        seed=arguments.seed,
        truncation=arguments.truncation,
        batch_norm=arguments.batch_norm,
        latents=arguments.latents,
        batch=arguments.batch,
    )
    resumed = f", {saved.total - saved.drawn:,} of them drawn before" if saved.drawn < saved.total else ""
    print(f"{counted(saved.total, 'sample')} of step {trained.step}{resumed}  {saved.path}")
