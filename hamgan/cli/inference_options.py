"""Options of the commands that apply a segmentation network to whole images."""

import argparse
from typing import TYPE_CHECKING, Any

from hamgan.cli.options import positive_integer

if TYPE_CHECKING:
    from hamgan.segmentation.inference import InferenceSettings


def add_inference(parser: argparse.ArgumentParser) -> None:
    """Adds the options of :func:`inference_settings`."""
    parser.add_argument(
        "--multi_scale",
        action="store_true",
        help="combine six scales, as they are and flipped (the published MSFlip); twelve times as slow, or more",
    )
    parser.add_argument(
        "--window", type=positive_integer, metavar="PIXELS", help="side of sliding windows, for large images"
    )
    parser.add_argument(
        "--window_step",
        type=positive_integer,
        metavar="PIXELS",
        help="distance of windows (default: 2/3 of the window)",
    )


def inference_settings(arguments: argparse.Namespace, num_steps: int | None) -> "InferenceSettings":
    """Returns the settings that the options select.

    Raises:
        UserError: they contradict each other.
    """
    from hamgan.segmentation.inference import MULTI_SCALE_FLIP, InferenceSettings

    scales: dict[str, Any] = {}
    if arguments.multi_scale:
        scales = {"ratios": MULTI_SCALE_FLIP.ratios, "flip": MULTI_SCALE_FLIP.flip}
    return InferenceSettings(window=arguments.window, window_step=arguments.window_step, num_steps=num_steps, **scales)
