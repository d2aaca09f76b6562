"""Predictions of pictures in files: class masks, overlays, and submissions to PASCAL VOC's server."""

import dataclasses
import hashlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan.counted import counted
from hamgan.errors import FailedError, UserError
from hamgan.segmentation.prediction.inference import MaskPredictor
from hamgan.segmentation.prediction.picture_files import BrokenPictureError, PictureFile, find_pictures, read_picture
from hamgan.segmentation.prediction.prediction_folder import DEFAULT_KINDS, PredictionFolder
from hamgan.segmentation.prediction.voc_submission import check_submission, write_submission

_logger = logging.getLogger(__name__)

_TAR = ".tar"
_PARTS = ".parts"
"""End of the name of the folder with the masks of an unfinished tar."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Result of :func:`predict_files`.

    Args:
        path: folder or tar that was written.
        total: number of pictures that have predictions there.
        made: number of these that were predicted now; the others existed.
        skipped: reason why a file has no prediction, by path.
    """

    path: str
    total: int
    made: int
    skipped: dict[str, str]


def predict_files(
    predictor: MaskPredictor,
    source: str,
    out: str,
    *,
    class_names: Sequence[str],
    kinds: Sequence[str] = DEFAULT_KINDS,
    names_file: str | None = None,
) -> Predictions:
    """Predicts a picture, or all pictures of a folder, one after the other.

    The same call resumes an interrupted one. Pictures whose results are complete, and newer than the picture, are kept.

    Args:
        predictor: segmentation network, a Keras model, and how to apply it.
        source: a picture, or a folder with pictures, also in deeper folders; local or ``gs://``. Any format that Pillow
            reads; pictures are turned upright as their EXIF orientation says.
        out: folder for the results, see
            :class:`hamgan.segmentation.prediction.prediction_folder.PredictionFolder`; or a name that ends in ``.tar``,
            for masks in the layout of PASCAL VOC's evaluation server.
        class_names: name of each class.
        kinds: kinds of results in a folder, "masks", "overlays" and "pairs".
        names_file: text file with the names of the pictures to choose, one on each line, without their endings.

    Returns:
        The number of predictions, and the files that cannot be read as pictures. These are skipped, and recorded in
        ``predictions.json``.

    Raises:
        UserError: there are no pictures, all are broken, ``out`` cannot be written or holds something else, or a
            picture is too large for memory.
        FailedError: a tar would be incomplete, because of a broken picture.

    Example:
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> from hamgan.segmentation.prediction.inference import MaskPredictor
        >>> from hamgan.segmentation.prediction.predict import predict_files
        >>> network = HamNet(ResNet(depths=(1, 1, 1, 1), base_channels=8), num_classes=2, head_channels=16, rank=4)
        >>> predict_files(MaskPredictor(network), "photographs", "results", class_names=["ground", "sky"]).made
        2
    """
    _check_outside(out, source)
    pictures = find_pictures(source, names_file)
    is_tar = out.lower().endswith(_TAR)
    if is_tar:
        check_submission(out, [picture.name for picture in pictures])
        kinds = ("masks",)
    record = {
        "network": network_sha256(predictor.network),
        "class_names": list(class_names),
        "settings": predictor.settings.values(),
    }
    folder = PredictionFolder(f"{out}{_PARTS}" if is_tar else out, kinds=kinds, record=record)
    made, skipped = _predict(predictor, pictures, folder)
    folder.write_skipped(skipped)
    if len(skipped) == len(pictures):
        path, reason = next(iter(skipped.items()))
        raise UserError(f"expected pictures, found {counted(len(skipped), 'broken file')}, such as {path} ({reason})")
    if is_tar:
        if skipped:
            raise FailedError(
                f"{out} would lack {counted(len(skipped), 'picture')}, such as {next(iter(skipped))}; replace what is "
                "broken and run the same command again"
            )
        write_submission(out, [(picture.name, folder.path_of("masks", picture.name)) for picture in pictures])
        tf.io.gfile.rmtree(folder.path)
    return Predictions(out, len(pictures) - len(skipped), made, skipped)


def _predict(
    predictor: MaskPredictor, pictures: Sequence[PictureFile], folder: PredictionFolder
) -> tuple[int, dict[str, str]]:
    """Writes what is missing; returns the number of pictures that were predicted, and the reasons for broken ones."""
    made, skipped = 0, {}
    for picture in tqdm(pictures, unit="picture", leave=False, disable=not sys.stderr.isatty()):
        if folder.is_complete(picture):
            continue
        try:
            image = read_picture(picture.path)
        except BrokenPictureError as error:
            skipped[picture.path] = str(error)
            _logger.warning("%s cannot be read as a picture (%s): skipped", picture.path, error)
            continue
        folder.write(picture.name, image, predictor(image[np.newaxis])[0])
        made += 1
    return made, skipped


def network_sha256(network: keras.Model) -> str:
    """Returns the SHA-256 of a network's config and weights, by which predictions of other networks are recognised."""
    config: Any = network.get_config()
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for weight in network.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()


def _check_outside(out: str, source: str) -> None:
    """Checks that results would not become pictures to predict."""
    if "://" in out or "://" in source or not os.path.isdir(source):
        return
    inner, outer = os.path.realpath(out), os.path.realpath(source)
    if os.path.commonpath([inner, outer]) == outer:
        raise UserError(
            f"expected results outside of the pictures' folder {source}, found {out}; choose another folder"
        )
