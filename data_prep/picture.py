"""Reads pictures of any usual format with Pillow, as upright RGB."""

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from data_prep.collection import DamagedImageError

CROPS = ("center", "pad")
"""The largest central square of a picture, or the whole picture on black."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Formats that are read, by Pillow's names. Others are refused: some of them start external programs."""

LARGEST_RESOLUTION = 256
REDUCING_GAP = 3.0
"""Factor by which a picture may be reduced fast before the final, antialiased resizing.

From 3.0 on, Pillow documents the result as nearly indistinguishable from resizing in one step.
"""
_DRAFT_SIDE = int(REDUCING_GAP * LARGEST_RESOLUTION)
"""Smallest side that a JPEG is decoded to. It does not depend on the resolutions that are written together."""

_SIGNATURE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|GIF8[79]a|II[*+]\0|MM\0[*+]", re.DOTALL)
_UNSUPPORTED = {
    re.compile(rb"....ftyp(?:hei|hev|mif|msf)", re.DOTALL): "HEIC",
    re.compile(rb"....ftypavi", re.DOTALL): "AVIF",
    re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "): "JPEG XL",
    re.compile(rb"\0\0\0\x0cjP  "): "JPEG 2000",
    re.compile(rb"8BPS"): "Photoshop",
    re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg", re.DOTALL): "SVG",
}
_OBJECT = re.compile(r" ?<[^<>]* at 0x[0-9a-f]+>")
"""Address of a Python object in a message, which differs from process to process."""
_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""
_16_BITS = ("I;16", "I;16L", "I;16B", "I")

Result = TypeVar("Result")


class Size(NamedTuple):
    """Height and width of a picture as stored, in pixels."""

    height: int
    width: int


def is_picture(data: bytes) -> bool:
    """Whether a file starts like a picture of one of ``FORMATS``, whatever its name."""
    return _SIGNATURE.match(data) is not None


def unsupported_format(data: bytes) -> str | None:
    """Returns the name of a file's format if it is a picture that cannot be read, else None."""
    return next((name for pattern, name in _UNSUPPORTED.items() if pattern.match(data[:1024])), None)


def size_of(data: bytes) -> Size:
    """Returns the size of a picture, from its header.

    Raises:
        DamagedImageError: the header cannot be read, or the picture has more than twice ``Image.MAX_IMAGE_PIXELS``.
    """

    def size(image: Image.Image) -> Size:
        width, height = image.size
        if width < 1 or height < 1:
            raise ValueError("the picture has no pixels")
        return Size(height, width)

    return with_image(data, size)


def upright_size_of(data: bytes) -> Size:
    """Returns the size of a picture once it is upright, from its header.

    Raises:
        DamagedImageError: the header cannot be read, or the picture has more than twice ``Image.MAX_IMAGE_PIXELS``.
    """
    height, width = size_of(data)
    return Size(width, height) if orientation_of(data) in _TRANSPOSED else Size(height, width)


def orientation_of(data: bytes) -> int:
    """Returns the EXIF orientation of a picture: 1 for upright ones, and for those without or with damaged metadata.

    Raises:
        DamagedImageError: the header of the picture cannot be read.
    """

    def orientation(image: Image.Image) -> int:
        with contextlib.suppress(Exception):
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
            return value if value in range(1, 9) else 1
        return 1

    return with_image(data, orientation)


def upright_rgb(data: bytes, *, full_size: bool = False) -> Image.Image:
    """Returns a picture in RGB, upright as its EXIF orientation says, with transparent parts on white.

    Args:
        data: content of the file; only the first frame of an animation is used.
        full_size: whether to decode every pixel. Otherwise, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size,
            with sides of at least 768 pixels.

    Raises:
        DamagedImageError: the picture is truncated or damaged, or its kind of pixels is not supported.
    """

    def read(image: Image.Image) -> Image.Image:
        if not full_size:
            image.draft(None, (_DRAFT_SIDE, _DRAFT_SIDE))  # does nothing unless the file is a JPEG
        return _upright_rgb(image)

    return with_image(data, read)


def central_square(image: Image.Image) -> Image.Image:
    """Returns the largest central square of a picture."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def fitted(image: Image.Image, resolution: int) -> Image.Image:
    """Returns a picture resized to fit into a square, and centered there on black.

    Args:
        image: picture in RGB.
        resolution: side of the square, in pixels.
    """
    longer = max(image.size)
    width, height = (max(1, round(length * resolution / longer)) for length in image.size)
    resized = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=REDUCING_GAP)
    if width == height:
        return resized
    square = Image.new("RGB", (resolution, resolution))
    square.paste(resized, ((resolution - width) // 2, (resolution - height) // 2))
    return square


def with_image(data: bytes, function: Callable[[Image.Image], Result]) -> Result:
    """Returns the result of a function of an opened picture.

    Args:
        data: content of the file.
        function: function of the picture; whatever it raises counts as damage.

    Raises:
        DamagedImageError: the picture cannot be opened, or the function failed.
    """
    if not data:
        raise DamagedImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata, and pictures of up to twice Image.MAX_IMAGE_PIXELS
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return function(image)
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        reason = _OBJECT.sub("", str(error)).strip() or type(error).__name__
        raise DamagedImageError(reason) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    with contextlib.suppress(Exception):  # The pixels are intact even if the metadata is not.
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode in _16_BITS:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("integers of 32 bits are not supported")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels are not supported")
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
