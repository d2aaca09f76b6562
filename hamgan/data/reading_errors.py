"""What TensorFlow raises while batches are taken, as one line about the data set."""

import logging
from collections.abc import Mapping, Sequence

import tensorflow as tf

from hamgan.data.examples import label_error_in
from hamgan.data.records import RecordPart, find_damage
from hamgan.errors import reason_of

_logger = logging.getLogger(__name__)

_FILE_ERRORS = (OSError, tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.NotFoundError)
"""Record files that are damaged, too short or gone."""
_EXAMPLE_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.PermissionDeniedError)


def explained(error: Exception, name: str, folder: str, parts: Mapping[str, Sequence[RecordPart]]) -> str | None:
    """Returns in one line what is wrong with a data set, or None if an error is not one of reading it.

    Args:
        error: what TensorFlow or Python raised.
        name: name of the data set.
        folder: its folder.
        parts: record files by split, which may be read to find the damaged one.
    """
    if isinstance(error, tf.errors.OpError):
        label_error = label_error_in(error.message)
        if label_error is not None:
            return label_error
        # A training step's own errors come through the same call; those of its input name the iterator.
        if "GetNext" not in error.message and folder not in error.message:
            return None
    elif not (isinstance(error, OSError) and str(error.filename).startswith(folder)):
        return None
    if isinstance(error, _FILE_ERRORS):
        _logger.info("Looking for the damaged record file of data set %s", name)
        for split, files in parts.items():
            damage = find_damage(files)
            if damage is not None:
                return f"data set {name}, split {split}: {damage}; copy the file or prepare the data set again"
    elif not isinstance(error, _EXAMPLE_ERRORS):
        return None
    return f"data set {name} in {folder} cannot be read: {reason_of(error)}; copy or prepare it again"
