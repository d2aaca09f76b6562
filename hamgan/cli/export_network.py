"""Export a trained segmentation network: SavedModel, Keras, TFLite and ONNX.

Each file is compared with the Keras model, and the folder appears when all agree. The SavedModel maps uint8 images of
any size to masks, and normalised images to logits. TFLite and ONNX take one normalised image of a fixed size.

  hamnet export --run runs/voc --out voc_model
  hamnet export --run hamnet.keras --out hamnet_model --formats tflite,onnx --size 257x257
"""

import argparse
import re

from hamgan.cli.options import add_network
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly

FORMATS = "savedmodel,keras,tflite,onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_network(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="new or empty local folder")
    parser.add_argument(
        "--formats", default=FORMATS, metavar="LIST", help=f"formats, separated by commas (default: {FORMATS})"
    )
    parser.add_argument(
        "--size",
        default="513x513",
        metavar="HxW",
        help="height and width of TFLite's and ONNX's images (default: 513x513)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    size = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if size is None:
        raise UserError(f"--size expects height and width such as 513x513, found '{arguments.size}'")

    import_tensorflow_quietly()
    from hamgan.sampling.export.report import table
    from hamgan.segmentation.trained import load_trained

    trained = load_trained(arguments.run, arguments.checkpoint)
    formats = [name.strip() for name in arguments.formats.split(",")]
    print(table(trained.export(arguments.out, formats=formats, size=(int(size[1]), int(size[2])))))
    print(f"Network  {arguments.out}")
