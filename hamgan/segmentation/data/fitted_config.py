"""Values of a segmentation config that come from the data set: classes and splits."""

import dataclasses

from hamgan.config import FROM_DATASET, SegmentationConfig
from hamgan.segmentation.data.dataset import SegmentationDataset


def fitted_config(config: SegmentationConfig) -> SegmentationConfig:
    """Returns a config with the values of its data set in place of ``FROM_DATASET``.

    Args:
        config: any config. One without ``FROM_DATASET`` is returned as it is, without opening the data set.

    Raises:
        UserError: the data set cannot be used, or has no such splits.
    """
    model, data = config.model, config.data
    if FROM_DATASET not in (model.num_classes, data.train_split, data.validation_split):
        return config
    dataset = SegmentationDataset(data)
    num_classes = dataset.num_classes if model.num_classes is FROM_DATASET else model.num_classes
    return dataclasses.replace(config, data=dataset.config, model=dataclasses.replace(model, num_classes=num_classes))
