"""The folder that a data set is written into: whether it can be, what is left there, and its space."""

import tensorflow as tf

from data_prep import storage
from data_prep.shards import TEMPORARY_SUFFIX, Shard, Target, finished
from hamgan.errors import UserError, reason_of
from hamgan.files import check_writable

TFDS_RECORD = "dataset_info.json"
"""What TFDS knows a prepared data set by; it comes last."""
_SPARE_BYTES = 64 << 20


def check_free(folder: str) -> None:
    """Checks that a data set can be written and be given its folder's name when all is there.

    Raises:
        UserError: something is in the way, or nothing can be written there.
    """
    if not storage.is_remote(folder) and storage.exists(folder) and storage.children(folder):
        raise UserError(f"{folder} is there without {TFDS_RECORD}: it is not whole; move it away, or remove it")
    try:
        check_writable(incomplete(folder))
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot write {incomplete(folder)}: {reason_of(error)}; pass another --data_dir") from error


def incomplete(folder: str) -> str:
    """Returns where a data set is written until all is there."""
    return f"{folder}.incomplete"


def clean(targets: list[Target], shards: list[Shard]) -> None:
    """Removes what a killed run left unfinished, and records of another plan."""
    for target in targets:
        wanted = {target.records_path(shard) for shard in shards}
        for name, is_folder in storage.children(target.folder):
            path = storage.join(target.folder, name)
            if not is_folder and path not in wanted and (name.endswith(TEMPORARY_SUFFIX) or ".tfrecord-" in name):
                storage.remove(path)


def check_free_space(targets: list[Target], shards: list[Shard]) -> None:
    """Checks that what is missing fits on the disk.

    Raises:
        UserError: it does not.
    """
    needed = 0
    for target in targets:
        for shard in shards:
            if finished(shard, target) is None:
                needed += sum(target.form.record_bytes(int(size)) for size in shard.images["size"])
    free = storage.free_bytes(targets[0].folder)
    if free is not None and needed and free < needed + _SPARE_BYTES:
        raise UserError(
            f"not enough space in {targets[0].folder}: {needed / 1e9:,.1f} GB are to be written, {free / 1e9:,.1f} GB "
            "are free; make room, or pass another --data_dir"
        )
