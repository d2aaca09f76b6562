"""A picture of real images, to compare samples with."""

import numpy as np

from hamgan.config import ModelConfig
from hamgan.data.dataset import ClassificationDataset
from hamgan.sampling.grids import image_grid, to_uint8

_BATCH = 64
_MOST_IMAGES = 5_000
"""Number of images that are read at most. Rare classes may then have fewer images in the picture."""


def real_image_grid(
    dataset: ClassificationDataset, model: ModelConfig, classes: list[int], columns: int, class_names: list[str]
) -> np.ndarray:
    """Returns a grid of the first training images of each class, as samples are drawn; missing images are white.

    Args:
        dataset: data set of the run.
        model: config of the networks, with resolution and channels of the images.
        classes: class of each row.
        columns: number of images in each row.
        class_names: name of each class.

    Returns:
        uint8 array, as :func:`hamgan.sampling.grids.image_grid` arranges it.
    """
    split = dataset.config.train_split
    shape = (columns, model.resolution, model.resolution, model.channels)
    rows = {label: np.full(shape, 255, np.uint8) for label in classes}
    counts = dict.fromkeys(classes, 0)
    batches = dataset.evaluation_batches(
        split,
        resolution=model.resolution,
        channels=model.channels,
        batch=_BATCH,
        last=min(_MOST_IMAGES, dataset.num_examples(split)),
    )
    with dataset.reading(split):
        for images, labels in batches.as_numpy_iterator():
            for image, label in zip(images, labels.tolist(), strict=True):
                if counts.get(label, columns) < columns:
                    rows[label][counts[label]] = to_uint8(image)
                    counts[label] += 1
            if min(counts.values()) == columns:
                break
    return image_grid(
        np.concatenate([rows[label] for label in classes]),
        columns=columns,
        row_names=[class_names[label] for label in classes],
    )
