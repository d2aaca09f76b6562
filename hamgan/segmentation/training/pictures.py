"""Pictures of the progress of training: validation images, their masks and the predictions."""

import numpy as np
from PIL import Image

from hamgan.sampling.grids import image_grid
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.data.palette import overlay
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.prediction.inference import InferenceSettings, MaskPredictor

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
        settings: how to apply the network, as when it is scored.

    Raises:
        UserError: the images cannot be read.
    """

    def __init__(self, network: SegmentationNetwork, dataset: SegmentationDataset, settings: InferenceSettings) -> None:
        self._predict = MaskPredictor(network, settings)
        split = dataset.config.validation_split
        count = min(PICTURED_IMAGES, dataset.num_examples(split))
        with dataset.reading(split):
            batches = dataset.evaluation_batches(split, last=count).as_numpy_iterator()
            self._examples = [(images[0], masks[0]) for images, masks in batches]

    def __call__(self) -> np.ndarray:
        """Returns a picture with one row for each image, uint8, shape ``(height, width, 3)``."""
        tiles = []
        for (image, mask), prediction in zip(self._examples, self.predictions(), strict=True):
            tiles += [_tile(picture) for picture in (image, overlay(image, mask), overlay(image, prediction))]
        return image_grid(np.stack(tiles), columns=len(COLUMN_NAMES), column_names=COLUMN_NAMES)

    def predictions(self) -> list[np.ndarray]:
        """Returns the predicted classes of each image, uint8, shape ``(height, width)``."""
        return [self._predict(image[np.newaxis])[0] for image, _ in self._examples]


def _tile(picture: np.ndarray) -> np.ndarray:
    """Returns a picture that is reduced or enlarged to fit a square, on white."""
    image = Image.fromarray(picture)
    scale = TILE / max(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(image)
    return np.asarray(tile)
