"""Where the members of a tar file lie, without unpacking anything; hostile and broken tars are refused."""

import io
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from hamgan.errors import UserError

MAX_HEADER_BYTES = 1 << 20
"""Longest header that is read into memory: long names take kilobytes, and only a bomb takes more."""

_END_BYTES = 2 * tarfile.BLOCKSIZE
"""A tar ends with two blocks of zeros."""
_PADDING_AT_ONCE = 1 << 20

_MAGIC = {
    b"\x1f\x8b": "is compressed with gzip",
    b"BZh": "is compressed with bzip2",
    b"\xfd7zXZ": "is compressed with xz",
    b"PK\x03\x04": "is a zip file",
    b"\xff\xd8\xff": "is a JPEG image",
    b"<": "is a web page or XML file, perhaps an error message saved in its place",
}


class TarMember(NamedTuple):
    """A regular file in a tar: its path's parts, and where its bytes lie in the whole file."""

    parts: tuple[str, ...]
    offset: int
    size: int


class _HeaderReader(io.RawIOBase):
    """A stretch of a file, for a reader that wants nothing but tar headers."""

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
        file: what the tar lies in, opened for reading.
        name: what to call the tar in errors.
        start: where the tar begins in ``file``, in bytes.
        size: how long the tar is, in bytes.

    Raises:
        UserError: it is no uncompressed tar, is damaged or cut off, or has a member that a tar of images has no use
            for: an absolute path, a path through ``..``, a link, a device, a sparse file, or a negative size.
    """
    reader = _HeaderReader(file, start, size)
    try:
        with tarfile.open(fileobj=reader, mode="r:") as tar:
            for member in tar:
                setattr(tar, "members", [])  # noqa: B010 (or it keeps every header in memory; typeshed hides it)
                parts = _checked_parts(member, name)
                if member.offset_data + member.size > size:
                    raise UserError(f"tar {name} is cut off inside '{member.name}'; fetch or copy it again")
                if not member.isdir():
                    yield TarMember(parts, start + member.offset_data, member.size)
            _check_end(file, name, start, tar.offset, size)
    except (tarfile.TarError, UnicodeError, EOFError, ValueError) as error:
        raise UserError(
            f"{_what_it_is(file, start, name)} ({error}); fetch it again, or make it with 'tar cf'"
        ) from error


def _check_end(file: BinaryIO, name: str, start: int, end: int, size: int) -> None:
    """Raises UserError unless a tar has two blocks of zeros where its last member ends, and zeros only after them.

    ``tarfile`` takes a damaged header, and the end of the file, for the end of the tar.
    """
    again = "fetch or copy it again, or make it with 'tar cf'"
    file.seek(start + end)
    if size - end < _END_BYTES:
        raise UserError(
            f"tar {name} is cut off: expected {_END_BYTES:,} bytes of zeros at its end, found {size - end:,} bytes "
            f"after its last member, at byte {end:,}; {again}"
        )
    if file.read(_END_BYTES).strip(b"\0"):
        raise UserError(f"tar {name} is damaged: found no header of a file at byte {end:,}, and not its end; {again}")
    position = end + _END_BYTES
    while position < size:
        block = file.read(min(_PADDING_AT_ONCE, size - position))
        if not block:
            raise UserError(f"tar {name} is cut off at byte {position:,} of {size:,}; {again}")
        if block.strip(b"\0"):
            raise UserError(
                f"tar {name} has something after its end at byte {end:,}: it is damaged, or several tars in one file; "
                f"unite them with 'tar --concatenate', or {again}"
            )
        position += len(block)


def _checked_parts(member: tarfile.TarInfo, name: str) -> tuple[str, ...]:
    """The path's parts without empty ones and dots."""
    parts = tuple(part for part in member.name.replace("\\", "/").split("/") if part not in ("", "."))
    if member.name.startswith(("/", "\\")) or ".." in parts:
        reason = "lies outside of the tar"
    elif member.issym() or member.islnk():
        reason = f"is a link to '{member.linkname}'"
    elif not (member.isfile() or member.isdir()) or member.issparse():
        reason = "is neither a plain file nor a folder"
    elif not (parts or member.isdir()):
        reason = "has no name"
    elif member.size < 0:
        reason = "has a negative size"
    else:
        return parts
    raise UserError(
        f"tar {name} is not safe: its member '{member.name}' {reason}; expected plain files only, so take it from "
        "another place, or pack the images again"
    )


def _what_it_is(file: BinaryIO, start: int, name: str) -> str:
    file.seek(start)
    first = file.read(8).lstrip()
    for magic, description in _MAGIC.items():
        if first.startswith(magic):
            return f"expected an uncompressed tar, but {name} {description}"
    return f"{name} is not a whole, uncompressed tar"
