"""Pictures to predict: which files there are, what their results are called, and their pixels."""

import collections
import io
import os
import warnings
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from hamgan.data.image_file import upright_rgb
from hamgan.errors import UserError, reason_of
from hamgan.evaluation.image_files import find_image_files, readable_formats


class PictureFile(NamedTuple):
    """A picture and the name of its results.

    Args:
        path: path of the file.
        name: name of the results, without an ending; with ``/`` where the picture is in a deeper folder.
    """

    path: str
    name: str


class BrokenPictureError(Exception):
    """A file that cannot be read as a picture; the message is the reason."""


def find_pictures(source: str, names_file: str | None = None) -> list[PictureFile]:
    """Returns the pictures of a source, sorted by path.

    Args:
        source: a picture, or a folder with pictures, also in deeper folders; local or ``gs://``.
        names_file: text file with the names of the pictures to choose, one on each line, without their endings, such as
            a list of PASCAL VOC.

    Raises:
        UserError: there are no pictures, or one that is named is missing.
    """
    try:
        is_folder = tf.io.gfile.isdir(source)
        exists = tf.io.gfile.exists(source)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {source}: {reason_of(error)}") from error
    if not exists:
        raise UserError(f"{source}: expected a picture or a folder of pictures, found nothing; check the path")
    if not is_folder:
        pictures = [PictureFile(source, os.path.splitext(os.path.basename(source))[0])]
    else:
        pictures = _named(source, find_image_files(source)[0])
    if not pictures:
        raise UserError(f"{source}: expected pictures such as .jpg or .png, found none; choose another folder")
    return pictures if names_file is None else _chosen(pictures, names_file, source)


def read_picture(path: str) -> np.ndarray:
    """Returns the pixels of a picture: upright as its EXIF orientation says, with transparent parts on white.

    Args:
        path: path of the file, local or ``gs://``. Of an animation, the first frame counts.

    Returns:
        RGB, uint8, shape ``(height, width, 3)``.

    Raises:
        BrokenPictureError: the file cannot be read as a picture.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata and size
            with Image.open(io.BytesIO(content), formats=readable_formats()) as image:
                return upright_rgb(image)
    except Exception as error:  # Pillow's decoders raise many types for damaged files.
        reason = "not a picture" if isinstance(error, Image.UnidentifiedImageError) else reason_of(error)
        raise BrokenPictureError(reason) from error


def _named(folder: str, paths: list[str]) -> list[PictureFile]:
    """Names results like their pictures, with the ending where two pictures differ in nothing else."""
    relative = [os.path.relpath(path, folder).replace(os.sep, "/") for path in paths]
    stems = [os.path.splitext(name)[0] for name in relative]
    count = collections.Counter(stems)
    return [
        PictureFile(path, stem if count[stem] == 1 else name)
        for path, stem, name in zip(paths, stems, relative, strict=True)
    ]


def _chosen(pictures: list[PictureFile], names_file: str, source: str) -> list[PictureFile]:
    try:
        with tf.io.gfile.GFile(names_file) as file:
            wanted = [words[0] for words in map(str.split, file.read().splitlines()) if words]
    except (OSError, UnicodeDecodeError, tf.errors.OpError) as error:
        raise UserError(f"cannot read the list {names_file}: {reason_of(error)}") from error
    by_name = {picture.name: picture for picture in pictures}
    missing = [name for name in wanted if name not in by_name]
    if missing or not wanted:
        found = f"{len(missing):,} missing, the first is {missing[0]}" if missing else "an empty list"
        raise UserError(f"expected the pictures of {names_file} in {source}, found {found}; check both")
    return [by_name[name] for name in dict.fromkeys(wanted)]
