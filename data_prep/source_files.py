"""Finds and reads all files of a folder, a zip or a tar, whatever they hold."""

import concurrent.futures
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from data_prep import storage
from data_prep.listing import IN_FOLDER, is_system_file
from data_prep.problems import Problem
from data_prep.reading import MAX_IMAGE_BYTES, read_images
from data_prep.tar_index import tar_members
from data_prep.zip_index import is_zip, zip_members
from hamgan.errors import UserError, reason_of

SOURCE = "source"
"""Stands for the split in problems that concern the whole source."""
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_REMOTE_REQUESTS = 32
_MAX_SIBLINGS = 50
_MAX_SIBLING_ENTRIES = 100


class SourceFile(NamedTuple):
    """A file in a source.

    Args:
        name: path within the source, with ``/``.
        offset: position in the archive in bytes, or ``IN_FOLDER``.
        size: size in bytes, in the archive if it is in one.
        content_size: size of the content in bytes.
        deflated: whether the content is compressed by deflate.
        crc: CRC-32 of the content, or None if it is unknown.
    """

    name: str
    offset: int
    size: int
    content_size: int
    deflated: bool = False
    crc: int | None = None


def find_files(source: str) -> tuple[list[SourceFile], list[Problem]]:
    """Returns the files of a source, sorted by name, without those that operating systems create.

    Args:
        source: folder, zip or uncompressed tar, local or ``gs://``.

    Returns:
        The files, and a problem for each entry that is left out.

    Raises:
        UserError: the source does not exist, or is a damaged or unsafe archive.
    """
    if not storage.exists(source):
        raise UserError(f"--source {source}: no such file or folder; expected a folder, a zip or an uncompressed tar")
    problems: list[Problem] = []
    if storage.is_folder(source):
        found = _files_in_bucket(source, problems) if storage.is_remote(source) else _files_in_folder(source, problems)
    else:
        found = _files_in_archive(source, problems)
    files: dict[str, SourceFile] = {}
    for file in sorted(found):
        if file.name in files:
            problems.append(Problem(SOURCE, "duplicate_name", file.name))
        else:
            files[file.name] = file
    return list(files.values()), problems


def _files_in_folder(source: str, problems: list[Problem]) -> list[SourceFile]:
    files: list[SourceFile] = []
    pending = [("", frozenset([os.path.realpath(source)]))]
    while pending:
        folder, around = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(source, folder)))
        except OSError as error:
            if not folder:
                raise
            problems.append(Problem(SOURCE, "unreadable", folder, error.strerror or str(error)))
            continue
        for entry in entries:
            name = folder + entry.name
            if is_system_file(entry.name):
                problems.append(Problem(SOURCE, "system_file", name))
            elif entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in around:
                    problems.append(Problem(SOURCE, "link_loop", name, f"to {real}"))
                else:
                    pending.append((f"{name}/", around | {real}))
            elif entry.is_file():
                size = entry.stat().st_size
                files.append(SourceFile(name, IN_FOLDER, size, size))
            elif entry.is_symlink():
                problems.append(Problem(SOURCE, "broken_link", name, f"to {os.readlink(entry.path)}"))
            else:
                problems.append(Problem(SOURCE, "not_a_picture", name, "not a regular file"))
    return files


def _files_in_bucket(source: str, problems: list[Problem]) -> list[SourceFile]:
    names: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        for child, is_folder in storage.children(storage.join(source, folder)):
            if not child:  # the marker of the folder itself
                continue
            if is_system_file(child):
                problems.append(Problem(SOURCE, "system_file", folder + child))
            elif is_folder:
                pending.append(f"{folder}{child}/")
            else:
                names.append(folder + child)
    with concurrent.futures.ThreadPoolExecutor(_REMOTE_REQUESTS) as threads:
        sizes = threads.map(lambda name: storage.status(storage.join(source, name)).size, names)
        return [SourceFile(name, IN_FOLDER, size, size) for name, size in zip(names, sizes, strict=True)]


def _files_in_archive(source: str, problems: list[Problem]) -> list[SourceFile]:
    files = []
    with storage.open_binary(source) as file:
        if is_zip(file):
            for member in zip_members(file, source):
                files.append(SourceFile("/".join(member.parts), *member[1:]))
        else:
            for parts, offset, size in tar_members(file, source, size=storage.status(source).size):
                files.append(SourceFile("/".join(parts), offset, size, size))
    hidden = [file.name for file in files if any(map(is_system_file, file.name.split("/")))]
    problems.extend(Problem(SOURCE, "system_file", name) for name in hidden)
    left_out = set(hidden)
    return [file for file in files if file.name not in left_out]


def read_files(source: str, files: Sequence[SourceFile]) -> Iterator[bytes | OSError]:
    """Reads files in order.

    Args:
        source: folder, zip or tar that holds the files.
        files: files to read.

    Yields:
        The content of each file, or the error raised when reading it.

    Raises:
        UserError: a member of a zip does not have the content that the zip promises.
    """
    width = max((len(os.fsencode(file.name)) for file in files), default=1)
    dtype = [("name", f"S{width}"), ("container", np.int32), ("offset", np.int64), ("size", np.int64)]
    images = np.array([(os.fsencode(file.name), 0, file.offset, file.size) for file in files], dtype)
    for file, stored in zip(files, read_images(images, {0: source}), strict=True):
        if isinstance(stored, OSError):
            yield stored
        elif file.content_size > MAX_IMAGE_BYTES:
            yield OSError(f"expected at most {MAX_IMAGE_BYTES:,} bytes, found {file.content_size:,}")
        else:
            yield _content(source, file, stored)


def _content(source: str, file: SourceFile, stored: bytes) -> bytes:
    try:
        content = inflated(stored, file.content_size) if file.deflated else stored
        if file.crc is None or zlib.crc32(content) == file.crc:
            return content
        reason = "has a wrong checksum"
    except ValueError as error:
        reason = reason_of(error)
    raise UserError(f"zip {source} is damaged: its member '{file.name}' {reason}; download or copy it again")


def inflated(stored: bytes, content_size: int) -> bytes:
    """Returns the content of a deflated member of a zip.

    Args:
        stored: deflated bytes.
        content_size: size of the content in bytes.

    Raises:
        ValueError: the content cannot be decompressed, or has another size.
    """
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = decompressor.decompress(stored, content_size + 1)
    except zlib.error as error:
        raise ValueError(f"cannot be decompressed ({error})") from error
    if len(content) != content_size or not decompressor.eof:
        raise ValueError(f"does not have the {content_size:,} bytes that the zip promises")
    return content


def sibling_folders_with_pictures(folder: str) -> list[str]:
    """Returns the folders beside a folder that hold pictures, judging by names; only the first of many are searched.

    Args:
        folder: local or ``gs://`` path.
    """
    parent, _, name = storage.canonical(folder).rpartition("/")
    if not storage.is_folder(folder) or parent.endswith("/"):  # an archive, or the root of a bucket
        return []
    siblings = [
        storage.join(parent, sibling)
        for sibling, is_folder in storage.children(parent or "/")
        if is_folder and sibling != name and not is_system_file(sibling)
    ]
    return [sibling for sibling in siblings[:_MAX_SIBLINGS] if _holds_pictures(sibling)]


def _holds_pictures(folder: str) -> bool:
    try:
        entries = storage.children(folder)[:_MAX_SIBLING_ENTRIES]
    except (OSError, tf.errors.OpError):
        return False
    return any(not is_folder and name.lower().endswith(PICTURE_SUFFIXES) for name, is_folder in entries)
