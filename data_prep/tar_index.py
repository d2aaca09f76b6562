"""Locates the members of a tar file without unpacking it. Damaged and unsafe tars are rejected."""

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from hamgan.errors import UserError

MAX_HEADER_BYTES = 1 << 20
"""Maximum size of a header. Long names take kilobytes; anything larger is an attack or damage."""

_END_BYTES = 2 * tarfile.BLOCKSIZE
"""A tar ends with at least two blocks of zeros."""
_PADDING_CHUNK = 1 << 20

_MAGIC = {
    b"\x1f\x8b": "is compressed with gzip",
    b"BZh": "is compressed with bzip2",
    b"\xfd7zXZ": "is compressed with xz",
    b"PK\x03\x04": "is a zip file",
    b"\xff\xd8\xff": "is a JPEG image",
    b"<": "is an HTML or XML file, perhaps an error page of the server",
}


class TarMember(NamedTuple):
    """A regular file in a tar.

    Args:
        parts: components of the member's path.
        offset: position of the content in the file that holds the tar, in bytes.
        size: size of the content in bytes.
    """

    parts: tuple[str, ...]
    offset: int
    size: int


class _HeaderReader(io.RawIOBase):
    """A section of a file that can only be read in small pieces, as the headers of a tar are."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        self._file.seek(self._start + self._position)
        data = self._file.read(max(0, min(size, self._size - self._position)))
        self._position += len(data)
        return data


def tar_members(file: BinaryIO, name: str, *, start: int = 0, size: int) -> Iterator[TarMember]:
    """Yields the regular files of an uncompressed tar.

    Args:
        file: file that holds the tar, opened for reading.
        name: name of the tar, for error messages.
        start: position of the tar in ``file``, in bytes.
        size: size of the tar in bytes.

    Raises:
        UserError: the file is not an uncompressed tar, is damaged or truncated, or has a member that a tar of images
            should not have: an absolute path, a path with ``..``, a link, a device, a sparse file or a negative size.
    """
    reader = _HeaderReader(file, start, size)
    try:
        with tarfile.open(fileobj=reader, mode="r:") as tar:
            for member in tar:
                setattr(tar, "members", [])  # noqa: B010 (frees the headers; typeshed hides the attribute)
                parts = _checked_parts(member, name)
                if member.offset_data + member.size > size:
                    raise UserError(f"tar {name} is truncated within '{member.name}'; download or copy it again")
                if not member.isdir():
                    yield TarMember(parts, start + member.offset_data, member.size)
            _check_end(file, name, start, tar.offset, size)
    except (tarfile.TarError, UnicodeError, EOFError, ValueError) as error:
        raise UserError(
            f"{_description(file, start, name)} ({error}); download it again, or create it with 'tar cf'"
        ) from error


def _check_end(file: BinaryIO, name: str, start: int, end: int, size: int) -> None:
    """Raises UserError unless the last member of a tar is followed by at least two blocks of zeros, and nothing else.

    ``tarfile`` itself accepts a damaged header or the end of the file as the end of the tar.
    """
    remedy = "download or copy it again, or create it with 'tar cf'"
    file.seek(start + end)
    if size - end < _END_BYTES:
        raise UserError(
            f"tar {name} is truncated: expected {_END_BYTES:,} zero bytes after its last member at byte {end:,}, found "
            f"{size - end:,} bytes; {remedy}"
        )
    if file.read(_END_BYTES).strip(b"\0"):
        raise UserError(
            f"tar {name} is damaged: expected a file header or the end of the tar at byte {end:,}; {remedy}"
        )
    position = end + _END_BYTES
    while position < size:
        block = file.read(min(_PADDING_CHUNK, size - position))
        if not block:
            raise UserError(f"tar {name} is truncated at byte {position:,} of {size:,}; {remedy}")
        if block.strip(b"\0"):
            raise UserError(
                f"tar {name} has data after its end at byte {end:,}: it is damaged, or consists of several tars; "
                f"join them with 'tar --concatenate', or {remedy}"
            )
        position += len(block)


def _checked_parts(member: tarfile.TarInfo, name: str) -> tuple[str, ...]:
    """Returns the components of a member's path, or raises UserError if the member is unsafe."""
    parts = tuple(part for part in member.name.replace("\\", "/").split("/") if part not in ("", "."))
    if member.name.startswith(("/", "\\")) or ".." in parts:
        reason = "is outside the tar"
    elif member.issym() or member.islnk():
        reason = f"is a link to '{member.linkname}'"
    elif not (member.isfile() or member.isdir()) or member.issparse():
        reason = "is neither a regular file nor a folder"
    elif not (parts or member.isdir()):
        reason = "has no name"
    elif member.size < 0:
        reason = "has a negative size"
    else:
        return parts
    raise UserError(
        f"tar {name} is not safe: its member '{member.name}' {reason}; expected only regular files and folders; "
        "download it from another site or pack the images again"
    )


def _description(file: BinaryIO, start: int, name: str) -> str:
    file.seek(start)
    first = file.read(8).lstrip()
    for magic, description in _MAGIC.items():
        if first.startswith(magic):
            return f"expected an uncompressed tar, but {name} {description}"
    return f"{name} is not a complete, uncompressed tar"
