"""Features of the records of every segmentation data set."""

from collections.abc import Sequence

import tensorflow_datasets as tfds


def mask_features(class_names: Sequence[str], side: int | None = None) -> tfds.features.FeaturesDict:
    """Returns the features of every segmentation data set.

    Args:
        class_names: name of each class, by label.
        side: height and width of all images in pixels, None for any.
    """
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(side, side, 3)),
            "mask": tfds.features.LabeledImage(labels=list(class_names), shape=(side, side, 1), encoding_format="png"),
            "file_name": tfds.features.Text(),
        }
    )
