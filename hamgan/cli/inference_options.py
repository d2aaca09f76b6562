"""Options of the commands that apply a segmentation network to whole images."""

import argparse
from typing import Any

from hamgan.architecture import LOGIT_COMBINATIONS
from hamgan.cli.options import positive_integer


def add_inference(parser: argparse.ArgumentParser) -> None:
    """Adds the options of :func:`inference_changes`."""
    parser.add_argument(
        "--multi_scale",
        action="store_true",
        help="combine six scales, as they are and flipped (the published MSFlip); much slower",
    )
    parser.add_argument(
        "--combination",
        choices=LOGIT_COMBINATIONS,
        help="how --multi_scale combines scales: sum of logits, as for HamNet, or mean of probabilities, as for "
        "SegNeXt (default: the run's setting; logits for a .keras file)",
    )
    parser.add_argument(
        "--short_side",
        type=positive_integer,
        metavar="PIXELS",
        help="scale images to this short side, as SegNeXt does (default: the run's setting; a .keras file has none)",
    )
    parser.add_argument(
        "--window", type=positive_integer, metavar="PIXELS", help="side of sliding windows, for large images"
    )
    parser.add_argument(
        "--window_step", type=positive_integer, metavar="PIXELS", help="distance of windows (default: 2/3 of a window)"
    )


def inference_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options, as arguments of ``InferenceSettings.changed``."""
    names = ("multi_scale", "combination", "short_side", "window", "window_step")
    return {name: getattr(arguments, name) for name in names}
