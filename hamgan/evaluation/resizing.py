"""Resizing of images to the size that the classifier expects, as published or as in clean-fid."""

import numpy as np
import tensorflow as tf
from PIL import Image

from hamgan.errors import UserError
from hamgan.evaluation.classifier import RESIZE

BILINEAR = "bilinear"
BICUBIC = "bicubic"
RESIZINGS = {
    BILINEAR: RESIZE,
    BICUBIC: "bicubic with antialiasing (Pillow), uint8 to float32 in [0, 255], clipped, not quantised",
}
"""Descriptions of the resizing methods in protocol cards. Change one whenever its numbers change."""


def check_resizing(method: str) -> None:
    """Checks the name of a method.

    Raises:
        UserError: it is unknown.
    """
    if method not in RESIZINGS:
        raise UserError(f"resize must be {' or '.join(RESIZINGS)}, found '{method}'")


def resized(image: np.ndarray, size: int, method: str) -> np.ndarray:
    """Resizes an image for the classifier.

    "bilinear" is TF-GAN's: bilinear without antialiasing, of values in [-1, 1]. "bicubic" is that of clean-fid: each
    channel is resized in float32 by Pillow's bicubic filter, whose support grows with the reduction, and clipped to
    [0, 255]. Neither quantises its result. Resizing to the same size changes nothing.

    Args:
        image: uint8, ``(height, width, 3)``.
        size: height and width of the result, in pixels.
        method: "bilinear" or "bicubic".

    Returns:
        float32 image in [-1, 1], ``(size, size, 3)``.

    Reference: Parmar et al., On Aliased Resizing and Surprising Subtleties in GAN Evaluation (CVPR 2022), for bicubic.

    Example:
        >>> import numpy as np
        >>> from hamgan.evaluation.resizing import resized
        >>> image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        >>> resized(image, 2, "bilinear").shape, resized(image, 8, "bicubic").dtype
        ((2, 2, 3), dtype('float32'))
    """
    if method == BILINEAR:
        scaled = image.astype(np.float32) * np.float32(2 / 255) - np.float32(1)
        if image.shape[:2] == (size, size):
            return scaled
        with tf.device("CPU"):
            return tf.image.resize(scaled, (size, size), method="bilinear", antialias=False).numpy()
    channels = [
        np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BICUBIC))
        for channel in np.moveaxis(image.astype(np.float32), -1, 0)
    ]
    return np.clip(np.stack(channels, axis=-1), 0, 255) * np.float32(2 / 255) - np.float32(1)
