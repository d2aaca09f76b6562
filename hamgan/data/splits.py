"""Choice of the training and the validation split."""

import dataclasses
import logging
import re
from collections.abc import Collection

from hamgan.config import FROM_DATASET, DataConfig
from hamgan.errors import UserError

_logger = logging.getLogger(__name__)

TRAIN = "train"
VALIDATION_NAMES = ("validation", "test")
"""Names of splits to validate on, in order of preference."""
PERCENT = 10
"""Share of the training split to validate on, if the data set has no other split."""


def with_splits(config: DataConfig, names: Collection[str]) -> DataConfig:
    """Returns a config with the splits of the data set in place of ``FROM_DATASET``.

    The training split is "train". The validation split is "validation" or else "test". A data set with neither is
    divided: the first tenth of "train" is for validation, which is a random tenth, because TFDS shuffles examples when
    it writes them.

    Args:
        config: config of the data set.
        names: names of its splits.

    Raises:
        UserError: the data set has no such split.
    """
    train, validation = config.train_split, config.validation_split
    if FROM_DATASET not in (train, validation):
        return config
    if train is FROM_DATASET and TRAIN not in names:
        raise _missing(config, "train_split", "split 'train'", names)
    other = next((name for name in VALIDATION_NAMES if name in names), None)
    if train is FROM_DATASET and validation is FROM_DATASET and other is None:
        train, validation = f"{TRAIN}[{PERCENT}%:]", f"{TRAIN}[:{PERCENT}%]"
        _logger.info("Data set %s has no validation split; training on %s, not %s", config.dataset, train, validation)
    elif validation is FROM_DATASET:
        if other is None:
            raise _missing(config, "validation_split", "split 'validation' or 'test'", names)
        train, validation = TRAIN if train is FROM_DATASET else train, other
    elif train is FROM_DATASET:
        if re.split(r"\W", validation)[0] == TRAIN:
            raise UserError(
                f"data.validation_split '{validation}' is part of the training split; override data.train_split, too"
            )
        train = TRAIN
    return dataclasses.replace(config, train_split=train, validation_split=validation)


def _missing(config: DataConfig, field: str, expected: str, names: Collection[str]) -> UserError:
    return UserError(f"data set '{config.dataset}' has no {expected}, only {', '.join(names)}; override data.{field}")
