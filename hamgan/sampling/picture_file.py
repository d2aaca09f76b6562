"""Files of pictures in the usual formats."""

import io
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from hamgan.errors import UserError, reason_of
from hamgan.files import write_atomically
from hamgan.sampling.output_kind import PICTURE_FORMATS

_JPEG_QUALITY = 95


def write_picture(path: str, image: np.ndarray) -> None:
    """Writes an image in the format that the end of the file name says. WebP is lossless, JPEG has quality 95.

    Args:
        path: path of the file, local or ``gs://``.
        image: uint8 array of shape ``(height, width, 3)``, or ``(height, width, 1)`` for gray images.

    Raises:
        UserError: if the format is unknown, or does not allow the image's size.

    Example:
        >>> import numpy as np
        >>> from hamgan.sampling.picture_file import write_picture
        >>> write_picture("black.webp", np.zeros((32, 32, 3), np.uint8))
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in PICTURE_FORMATS:
        raise UserError(f"{path}: expected a name that ends in {', '.join(PICTURE_FORMATS)}, found '{ending}'")
    if PICTURE_FORMATS[ending] == "PNG":
        write_atomically(path, tf.io.encode_png(image).numpy())
        return
    buffer = io.BytesIO()
    try:
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(
            buffer, PICTURE_FORMATS[ending], quality=_JPEG_QUALITY, lossless=True
        )
    except (OSError, ValueError) as error:
        height, width, _ = image.shape
        raise UserError(
            f"{path}: cannot write {width}x{height} pixels in this format ({reason_of(error)}); choose .png"
        ) from error
    write_atomically(path, buffer.getvalue())
