"""Export a trained generator: SavedModel, Keras, TFLite and ONNX, with a model card.

Each file is compared with the Keras model, and the folder appears when all agree. The model card has the scores that
are in the run folder; --score computes those with fixed and with random bases before.

  hamgan export --run runs/digits --out digits_model
  hamgan export --run runs/digits --out digits_model --score --classifier data/digits_classifier --data_dir data
  hamgan export --run runs/strong --checkpoint best --formats savedmodel,onnx --out strong_model
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_data_dir, add_run
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly

FORMATS = "savedmodel,keras,tflite,onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, a step, or the path of a checkpoint")
    parser.add_argument("--out", required=True, metavar="DIR", help="new or empty local folder")
    parser.add_argument(
        "--formats", default=FORMATS, metavar="LIST", help=f"formats, separated by commas (default: {FORMATS})"
    )
    parser.add_argument(
        "--bases",
        choices=("fixed", "random"),
        default="fixed",
        help="initial bases for given z: fixed, or random in each call (SavedModel and Keras only; default: fixed)",
    )
    parser.add_argument(
        "--license",
        default="unknown",
        metavar="ID",
        help="license of the weights for the model card, such as apache-2.0 (default: unknown)",
    )
    parser.add_argument("--score", action="store_true", help="score the checkpoint with fixed and random bases before")
    parser.add_argument(
        "--classifier", metavar="HANDLE", help="classifier of --score: TF-Hub handle or SavedModel (default: the run's)"
    )
    parser.add_argument("--num_samples", type=int, metavar="N", help="number of images of --score (default: the run's)")
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    scoring = {name: getattr(arguments, name) for name in ("classifier", "num_samples", "data_dir")}
    given = [f"--{name}" for name, value in scoring.items() if value is not None]
    if given and not arguments.score:
        raise UserError(f"{' and '.join(given)} expected together with --score, found no --score; add it")

    import_tensorflow_quietly()
    from hamgan.evaluation.evaluate import evaluate_bases
    from hamgan.sampling.export import check_export
    from hamgan.sampling.export.report import table
    from hamgan.sampling.trained import load

    trained = load(arguments.run, checkpoint=arguments.checkpoint, weights=arguments.weights)
    formats = [name.strip() for name in arguments.formats.split(",")]
    check_export(trained, arguments.out, formats=formats, bases=arguments.bases)
    if arguments.score:
        evaluate_bases(trained, **scoring)
    exported = trained.export(arguments.out, formats=formats, bases=arguments.bases, license_id=arguments.license)
    print(table(exported))
    print(f"Generator of step {trained.step}  {arguments.out}")
