"""Pictures of the progress of training: validation images, their masks and the predictions."""

import numpy as np
import tensorflow as tf
from PIL import Image

from hamgan.sampling.grids import image_grid
from hamgan.segmentation.augmentation import normalise
from hamgan.segmentation.dataset import SegmentationDataset
from hamgan.segmentation.network import SegmentationNetwork
from hamgan.segmentation.palette import overlay

PICTURED_IMAGES = 6
"""Maximum number of images in a picture."""
TILE = 192
"""Height and width of each of them, in pixels."""
COLUMN_NAMES = ("image", "truth", "prediction")


class TrainPictures:
    """Draws the first validation images, with their masks and predictions beside them.

    Args:
        network: network to predict with. It stays unchanged.
        dataset: data set with a validation split.

    Raises:
        UserError: the images cannot be read.
    """

    def __init__(self, network: SegmentationNetwork, dataset: SegmentationDataset) -> None:
        self._network = network
        split = dataset.config.validation_split
        count = min(PICTURED_IMAGES, dataset.num_examples(split))
        with dataset.reading(split):
            batches = dataset.evaluation_batches(split, last=count).as_numpy_iterator()
            self._examples = [(images[0], masks[0]) for images, masks in batches]

    def __call__(self) -> np.ndarray:
        """Returns a picture with one row for each image, uint8, shape ``(height, width, 3)``."""
        tiles = []
        for image, mask in self._examples:
            logits = self._network(normalise(tf.constant(image)[tf.newaxis]), training=False)
            prediction = tf.argmax(logits[0], axis=-1).numpy().astype(np.uint8)
            tiles += [_tile(picture) for picture in (image, overlay(image, mask), overlay(image, prediction))]
        return image_grid(np.stack(tiles), columns=len(COLUMN_NAMES), column_names=COLUMN_NAMES)


def _tile(picture: np.ndarray) -> np.ndarray:
    """Returns a picture that is reduced or enlarged to fit a square, on white."""
    image = Image.fromarray(picture)
    scale = TILE / max(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(image)
    return np.asarray(tile)
