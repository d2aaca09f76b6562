"""Examines files in worker processes: which of them are pictures, how large, and with which content."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from data_prep.collection import DamagedImageError
from data_prep.local_workers import LocalWorkers, advance
from data_prep.picture import is_picture, size_of, unsupported_format
from data_prep.reading import MAX_IMAGE_BYTES
from data_prep.source_files import PICTURE_SUFFIXES, SourceFile, read_files
from hamgan.errors import UserError

_FILES_PER_TASK = 32
_MAX_UNREADABLE = 10
"""Maximum number of unreadable files (or 1% of all, if that is more). With more, the disk has failed."""


class Examined(NamedTuple):
    """What a file holds: a picture, or a problem.

    Args:
        sha256: digest of the content.
        height: height of the picture as stored, in pixels.
        width: width of the picture as stored, in pixels.
        problem: kind of problem (key of ``data_prep.problems.KINDS``), or None for a picture.
        detail: description of the problem.
    """

    sha256: bytes
    height: int
    width: int
    problem: str | None
    detail: str


def examine(source: str, files: Sequence[SourceFile], workers: LocalWorkers) -> list[Examined]:
    """Reads all files once.

    Args:
        source: folder or archive that holds the files.
        files: files to examine.
        workers: processes to use.

    Returns:
        The result for each file, in order.

    Raises:
        UserError: many files cannot be read, or an archive is damaged.
    """
    tasks = [(source, files[start : start + _FILES_PER_TASK]) for start in range(0, len(files), _FILES_PER_TASK)]
    results = workers.run(_examine_files, tasks, title="Examining", unit="file", total=len(files))
    examined = [result for part in results for result in part]
    unreadable = [index for index, result in enumerate(examined) if result.problem == "unreadable"]
    if len(unreadable) > max(_MAX_UNREADABLE, len(files) // 100):
        first = unreadable[0]
        raise UserError(
            f"{len(unreadable):,} files in {source} cannot be read, such as {files[first].name}: "
            f"{examined[first].detail}; make them readable and run the same command again"
        )
    return examined


def _examine_files(source: str, files: Sequence[SourceFile]) -> list[Examined]:
    """Examines several files in a worker."""
    results = []
    for file, content in zip(files, read_files(source, files), strict=True):
        results.append(_examine(file, content))
        advance(1)
    return results


def _examine(file: SourceFile, content: bytes | OSError) -> Examined:
    def problem(kind: str, detail: str = "") -> Examined:
        return Examined(b"", 0, 0, kind, detail)

    if max(file.size, file.content_size) > MAX_IMAGE_BYTES:
        return problem("too_large", f"{file.content_size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
    if isinstance(content, OSError):
        return problem("unreadable", content.strerror or str(content))
    if not is_picture(content):
        unsupported = unsupported_format(content)
        if unsupported:
            return problem("unsupported", f"{unsupported}; convert it to JPEG or PNG")
        is_damaged = file.name.lower().endswith(PICTURE_SUFFIXES)
        detail = "the file is empty" if not content else "the content is not that of a picture"
        return problem("damaged", detail) if is_damaged else problem("not_a_picture")
    try:
        height, width = size_of(content)
    except DamagedImageError as error:
        return problem("damaged", str(error))
    return Examined(hashlib.sha256(content).digest(), height, width, None, "")
