"""Examines files in worker processes: which of them are pictures, how large, and with which content."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from data_prep.collection import DamagedImageError
from data_prep.local_workers import LocalWorkers, advance
from data_prep.picture import Size, is_picture, size_of, unsupported_format, upright_size_of
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
        values: values that occur, in ascending order, if the picture is a mask.
    """

    sha256: bytes
    height: int
    width: int
    problem: str | None
    detail: str
    values: tuple[int, ...] = ()


Look = Callable[[SourceFile, bytes], Examined]
"""Function that examines the content of a file; picklable, to be sent to workers."""


def look_at_picture(file: SourceFile, content: bytes) -> Examined:
    """Examines a file that should be a picture. The size is that of the picture as stored."""
    return examined_picture(file, content, size_of)


def look_at_upright_picture(file: SourceFile, content: bytes) -> Examined:
    """Examines a file that should be a picture. The size is that of the upright picture."""
    return examined_picture(file, content, upright_size_of)


def examine(
    source: str,
    files: Sequence[SourceFile],
    workers: LocalWorkers,
    look: Look = look_at_picture,
    title: str = "Examining",
) -> list[Examined]:
    """Reads all files once.

    Args:
        source: folder or archive that holds the files.
        files: files to examine.
        workers: processes to use.
        look: function that examines a file.
        title: title of the progress bar.

    Returns:
        The result for each file, in order.

    Raises:
        UserError: many files cannot be read, or an archive is damaged.
    """
    tasks = [(source, files[start : start + _FILES_PER_TASK], look) for start in range(0, len(files), _FILES_PER_TASK)]
    results = workers.run(_examine_files, tasks, title=title, unit="file", total=len(files))
    examined = [result for part in results for result in part]
    unreadable = [index for index, result in enumerate(examined) if result.problem == "unreadable"]
    if len(unreadable) > max(_MAX_UNREADABLE, len(files) // 100):
        first = unreadable[0]
        raise UserError(
            f"{len(unreadable):,} files in {source} cannot be read, such as {files[first].name}: "
            f"{examined[first].detail}; make them readable and run the same command again"
        )
    return examined


def problem_of(kind: str, detail: str = "") -> Examined:
    """Returns the result for a file that cannot be used.

    Args:
        kind: kind of problem (key of ``data_prep.problems.KINDS``).
        detail: description of the problem.
    """
    return Examined(b"", 0, 0, kind, detail)


def _examine_files(source: str, files: Sequence[SourceFile], look: Look) -> list[Examined]:
    """Examines several files in a worker."""
    results = []
    for file, content in zip(files, read_files(source, files), strict=True):
        if max(file.size, file.content_size) > MAX_IMAGE_BYTES:
            detail = f"{file.content_size:,} bytes, more than {MAX_IMAGE_BYTES:,}"
            results.append(problem_of("too_large", detail))
        elif isinstance(content, OSError):
            results.append(problem_of("unreadable", content.strerror or str(content)))
        else:
            results.append(look(file, content))
        advance(1)
    return results


def examined_picture(file: SourceFile, content: bytes, size: Callable[[bytes], Size]) -> Examined:
    """Returns the size and digest of a picture, or why it is none.

    Args:
        file: file in its source.
        content: content of the file.
        size: function that measures a picture.
    """
    if not is_picture(content):
        unsupported = unsupported_format(content)
        if unsupported:
            return problem_of("unsupported", f"{unsupported}; convert it to JPEG or PNG")
        is_damaged = file.name.lower().endswith(PICTURE_SUFFIXES)
        detail = "the file is empty" if not content else "the content is not that of a picture"
        return problem_of("damaged", detail) if is_damaged else problem_of("not_a_picture")
    try:
        height, width = size(content)
    except DamagedImageError as error:
        return problem_of("damaged", str(error))
    return Examined(hashlib.sha256(content).digest(), height, width, None, "")
