"""Score any images against any others: FID, IS, KID, precision, recall, density, coverage.

Each side is a folder of images, an .npz file of images (arr_0), an .npz file of statistics (mu, sigma; FID only), a
TFDS data set (tfds:NAME:SPLIT) or a run, which is sampled. The card in --out says how the scores were made. After an
interruption, run the same command again to resume; SIGTERM ends it with exit code 75.

  hamgan score --fakes samples --reference tfds:digits:validation --data_dir data --classifier data/digits_classifier
  hamgan score --fakes runs/strong --truncation 0.5 --reference VIRTUAL_imagenet128_labeled.npz --out score.json
  hamgan score --reference photos --save_statistics photos_statistics.npz
  hamgan score --fakes samples.npz --reference photos_statistics.npz
"""

import argparse
import json

from hamgan.cli.options import add_accelerator, add_data_dir, check_output, positive_integer, strategy_of
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly
from hamgan.training.preemption import PreemptionWatch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--fakes", metavar="IMAGES", help="images to score: a folder, .npz file, tfds:NAME[:SPLIT] or run"
    )
    parser.add_argument("--reference", required=True, metavar="IMAGES", help="images to compare with, likewise")
    parser.add_argument("--out", metavar="JSON", help="file for scores and card")
    parser.add_argument("--save_statistics", metavar="NPZ", help="file for mean and covariance of the reference")
    parser.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel with outputs logits and pool_3 (default: the run's, or TF-GAN's Inception)",
    )
    parser.add_argument(
        "--resize",
        default="bilinear",
        metavar="METHOD",
        help="bilinear (without antialiasing, as published) or bicubic (antialiased, as clean-fid) (default: bilinear)",
    )
    for side in ("fakes", "reference"):
        parser.add_argument(
            f"--{side}_classifier",
            metavar="NAME",
            help=f"classifier behind statistics that do not record it, for --{side}: SHA-256, handle or name",
        )
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="of a run: latest, best, a step, or a path (default: latest)"
    )
    parser.add_argument("--weights", choices=("ema", "raw"), help="of a run (default: ema if the run keeps it)")
    parser.add_argument(
        "--num_samples", type=positive_integer, metavar="N", help="number of samples of a run (default: the run's)"
    )
    parser.add_argument("--truncation", type=float, metavar="T", help="truncation of a run's latent vectors")
    parser.add_argument(
        "--resolution",
        type=positive_integer,
        metavar="N",
        help="size of a data set's images (default: that of the run on the other side, or of the stored images)",
    )
    parser.add_argument(
        "--neighbors_samples",
        type=int,
        metavar="N",
        help="most images a side for precision, recall, density and coverage, 0 for none (default: 10000)",
    )
    parser.add_argument("--batch", type=positive_integer, metavar="N", help="images per batch (default: 64)")
    parser.add_argument(
        "--cache_dir", metavar="DIR", help="local folder for features (default: ~/.cache/hamgan/features)"
    )
    add_data_dir(parser)
    add_accelerator(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    # From the start: TensorFlow takes a while to load.
    with PreemptionWatch("SIGTERM: the features so far are kept"):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.fakes is None and arguments.save_statistics is None:
        raise UserError("expected --fakes, --save_statistics or both beside --reference, found neither")
    for option in ("out", "save_statistics"):
        if getattr(arguments, option) is not None:
            check_output(f"--{option}", getattr(arguments, option))

    import_tensorflow_quietly()
    from hamgan.evaluation.score_images import NEIGHBORS_SAMPLES, score
    from hamgan.files import write_atomically
    from hamgan.runs.score_table import comparison_table

    options = (
        *("classifier", "resize", "fakes_classifier", "reference_classifier", "save_statistics", "checkpoint"),
        *("weights", "num_samples", "truncation", "resolution", "batch", "data_dir", "cache_dir"),
    )
    result = score(
        arguments.fakes,
        arguments.reference,
        **{name: getattr(arguments, name) for name in options},
        neighbors_samples=NEIGHBORS_SAMPLES if arguments.neighbors_samples is None else arguments.neighbors_samples,
        strategy=strategy_of(arguments),
    )
    print(comparison_table(result))
    if arguments.out is not None:
        write_atomically(arguments.out, (json.dumps(result, indent=1) + "\n").encode())
        print(f"Scores and card  {arguments.out}")
    if arguments.save_statistics is not None:
        print(f"Statistics       {arguments.save_statistics}")
