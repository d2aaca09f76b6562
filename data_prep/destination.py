"""Checks and cleans the folder that a data set is written to."""

import tensorflow as tf

from data_prep import storage
from data_prep.shards import Shard, Target, finished_result
from hamgan.errors import UserError, reason_of
from hamgan.files import TEMPORARY_SUFFIX, check_writable

TFDS_INFO = "dataset_info.json"
"""File by which TFDS recognizes a prepared data set. It is written last."""
_SPARE_BYTES = 64 << 20


def check_destination(folder: str) -> None:
    """Checks that a data set can be written, and then moved to its final folder.

    Args:
        folder: final folder of the data set.

    Raises:
        UserError: the folder is in use, or is not writable.
    """
    if not storage.is_remote(folder) and storage.exists(folder) and storage.children(folder):
        raise UserError(
            f"{folder} exists but has no {TFDS_INFO}, so it is not a complete data set; move it away or delete it"
        )
    try:
        check_writable(incomplete_folder(folder))
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"cannot write {incomplete_folder(folder)}: {reason_of(error)}; pass another --data_dir"
        ) from error


def incomplete_folder(folder: str) -> str:
    """Returns the folder that a data set is written to until it is complete.

    Args:
        folder: final folder of the data set.
    """
    return f"{folder}.incomplete"


def remove_leftovers(targets: list[Target], shards: list[Shard]) -> None:
    """Deletes temporary files of interrupted runs, and record files that are not part of the plan.

    Args:
        targets: forms to write, with their folders.
        shards: shards of the plan.
    """
    for target in targets:
        planned = {target.records_path(shard) for shard in shards}
        for name, is_folder in storage.children(target.folder):
            path = storage.join(target.folder, name)
            is_leftover = name.endswith(TEMPORARY_SUFFIX) or ".tfrecord-" in name
            if not is_folder and path not in planned and is_leftover:
                storage.remove(path)


def check_free_space(targets: list[Target], shards: list[Shard]) -> None:
    """Checks that the unfinished shards fit on the disk.

    Args:
        targets: forms to write, with their folders.
        shards: shards of the plan.

    Raises:
        UserError: there is not enough free space.
    """
    needed = 0
    for target in targets:
        for shard in shards:
            if finished_result(shard, target) is None:
                needed += sum(target.form.record_bytes(int(size)) for size in shard.images["size"])
    free = storage.free_bytes(targets[0].folder)
    if free is not None and needed and free < needed + _SPARE_BYTES:
        raise UserError(
            f"not enough space in {targets[0].folder}: {needed / 1e9:,.1f} GB needed, {free / 1e9:,.1f} GB free; "
            "free some space or pass another --data_dir"
        )
