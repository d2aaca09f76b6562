"""Predictions in the layout of PASCAL VOC's evaluation server."""

import io
import tarfile
from collections.abc import Sequence

import tensorflow as tf

from hamgan.errors import UserError, reason_of
from hamgan.files import atomic_file

MASKS_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
"""Folder of the masks: segmentation (comp6: trained on any data), test set."""


def write_submission(path: str, masks: Sequence[tuple[str, str]]) -> None:
    """Writes masks as a tar for the server, with the same bytes for the same masks.

    Args:
        path: path of the tar, local or ``gs://``.
        masks: name of each image, and path of its mask, an index PNG file.

    Raises:
        UserError: the tar cannot be written.
    """
    try:
        with (
            atomic_file(path) as temporary,
            tf.io.gfile.GFile(temporary, "wb") as file,
            tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name, mask in sorted(masks):
                with tf.io.gfile.GFile(mask, "rb") as mask_file:
                    content = mask_file.read()
                member = tarfile.TarInfo(f"{MASKS_FOLDER}/{name}.png")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"cannot write {path}: {reason_of(error)}; free space or fix permissions") from error


def check_submission(path: str, names: Sequence[str]) -> None:
    """Checks, before the work, that a tar can be created.

    Args:
        path: path of the tar.
        names: name of each image.

    Raises:
        UserError: the tar exists, or a name has a folder, which the server does not expect.
    """
    if tf.io.gfile.exists(path):
        raise UserError(f"expected the name of a new tar, found that {path} exists; choose another name")
    for name in names:
        if "/" in name:
            raise UserError(f"expected all pictures of a submission in one folder, found {name}; choose that folder")
