"""Reads a single picture of any format that Pillow opens."""

import io
import warnings

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from hamgan.data.preprocessing import preprocess
from hamgan.errors import UserError, reason_of

_BITS_OF_A_BYTE = 8


def read_image(path: str, *, resolution: int, channels: int = 3) -> np.ndarray:
    """Reads a picture and preprocesses it like the images of a data set.

    The picture is turned upright as its EXIF orientation says, transparent parts become white, and
    :func:`hamgan.data.preprocessing.preprocess` crops and resamples it.

    Args:
        path: path of the file, local or ``gs://``. Only the first frame of an animation is used.
        resolution: height and width of the result, in pixels.
        channels: number of channels of the result, 1 or 3.

    Returns:
        Float32 image in [-1, 1], shape ``(resolution, resolution, channels)``.

    Raises:
        UserError: if the file cannot be read or is no picture.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            data = file.read()
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                pixels = upright_rgb(image)
    # Pillow's decoders raise whatever a damaged file makes them raise.
    except Exception as error:
        raise UserError(f"{path}: expected a picture, such as PNG or JPEG, found {_found(data, error)}") from error
    return preprocess(tf.constant(pixels), resolution, channels).numpy()


def upright_rgb(image: Image.Image) -> np.ndarray:
    """Returns an image as its EXIF orientation says, on white where it is transparent, uint8 RGB."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        # Pillow cuts 16 bits off at 255.
        gray = np.clip(np.asarray(upright).astype(np.int64) >> _BITS_OF_A_BYTE, 0, 255).astype(np.uint8)
        upright = Image.fromarray(gray)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return np.asarray(upright.convert("RGB"))


def _found(data: bytes, error: Exception) -> str:
    if not data:
        return "an empty file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "none that Pillow can open"
    return f"one that is damaged or too large ({reason_of(error)})"
