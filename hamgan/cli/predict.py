"""Predict pictures: class masks, overlays, and submissions to PASCAL VOC's server.

hamnet predict --run runs/voc --images photographs --out results
hamnet predict --run hamnet.keras --images photograph.jpg --out results --write masks,overlays,pairs
hamnet predict --run runs/voc --images large --out results --window 513
hamnet predict --run runs/voc --images JPEGImages --list ImageSets/Segmentation/test.txt --multi_scale --out results.tar

A folder gets masks/NAME.png (index PNG files with VOC's palette), overlays/NAME.jpg and pairs/NAME.jpg (the picture
beside its overlay). Files that are no pictures are reported and skipped. Run the command again to resume it.
"""

import argparse

from hamgan.cli.inference_options import add_inference, inference_changes
from hamgan.cli.options import add_network, positive_integer
from hamgan.counted import counted
from hamgan.errors import FailedError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_network(parser)
    parser.add_argument("--images", required=True, metavar="PATH", help="a picture, or a folder of pictures")
    parser.add_argument(
        "--out", required=True, metavar="PATH", help="folder of the results, or a .tar for PASCAL VOC's server"
    )
    parser.add_argument(
        "--list", metavar="FILE", help="text file with the names of the pictures to predict, without their endings"
    )
    parser.add_argument(
        "--write",
        default="masks,overlays",
        metavar="LIST",
        help="what to write into a folder: masks, overlays, pairs (default: masks,overlays)",
    )
    parser.add_argument(
        "--num_steps",
        type=positive_integer,
        metavar="K",
        help="iterations of the matrix decomposition (default: the run's)",
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a file is no picture")
    add_inference(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    import_tensorflow_quietly()
    from hamgan.segmentation.trained import load_trained

    trained = load_trained(arguments.run, arguments.checkpoint)
    predictions = trained.predict_files(
        arguments.images,
        arguments.out,
        settings=trained.settings.changed(**inference_changes(arguments), num_steps=arguments.num_steps),
        kinds=[kind.strip() for kind in arguments.write.split(",")],
        names_file=arguments.list,
    )
    before = predictions.total - predictions.made
    resumed = f", {before:,} of them made before" if before else ""
    print(f"{counted(predictions.total, 'prediction')}{resumed}  {predictions.path}")
    if predictions.skipped:
        count = len(predictions.skipped)
        message = f"{counted(count, 'file is no picture and was', 'files are no pictures and were')} skipped"
        if arguments.strict:
            raise FailedError(f"{message}, such as {next(iter(predictions.skipped))}")
        print(message)
