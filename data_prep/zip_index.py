"""Locates the members of a zip file without unpacking it. Damaged and unsafe zips are rejected."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from hamgan.errors import UserError

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Signature, length of the name and length of the extra field, at the start of each member."""
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800
_REPACK = "pack the images again, with 'zip -r'"


class ZipMember(NamedTuple):
    """A regular file in a zip.

    Args:
        parts: components of the member's path.
        offset: position of the stored bytes in the zip.
        size: number of stored bytes.
        content_size: size of the content in bytes.
        deflated: whether the content is compressed by deflate, not stored as it is.
        crc: CRC-32 of the content.
    """

    parts: tuple[str, ...]
    offset: int
    size: int
    content_size: int
    deflated: bool
    crc: int


def is_zip(file: BinaryIO) -> bool:
    """Whether a file starts like a zip.

    Args:
        file: file opened for reading.
    """
    file.seek(0)
    return file.read(4) in (_LOCAL_SIGNATURE, b"PK\x05\x06")


def zip_members(file: BinaryIO, name: str) -> Iterator[ZipMember]:
    """Yields the regular files of a zip, ordered by position.

    Args:
        file: file that holds the zip, opened for reading.
        name: name of the zip, for error messages.

    Raises:
        UserError: the file is damaged or truncated, or has a member that a zip of images should not have: an absolute
            path, a path with ``..``, a link, an encrypted member, an unusual compression, or a member that overlaps
            another.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = sorted(archive.infolist(), key=lambda member: member.header_offset)
            end_of_members = archive.start_dir
    # zipfile raises all of these for damaged directories.
    except (zipfile.BadZipFile, NotImplementedError, struct.error, OSError, ValueError, EOFError) as error:
        raise UserError(f"zip {name} is damaged or truncated ({error}); download it again, or {_REPACK}") from error
    position = 0
    for member in members:
        parts = _checked_parts(member, name)
        offset = _content_offset(file, member, name)
        if member.header_offset < position or offset + member.compress_size > end_of_members:
            raise UserError(
                f"zip {name} is not safe: its member '{member.filename}' overlaps another one; download it from "
                f"another site, or {_REPACK}"
            )
        position = offset + member.compress_size
        if not member.filename.endswith("/"):
            deflated = member.compress_type == zipfile.ZIP_DEFLATED
            yield ZipMember(parts, offset, member.compress_size, member.file_size, deflated, member.CRC)


def _content_offset(file: BinaryIO, member: zipfile.ZipInfo, name: str) -> int:
    file.seek(max(0, member.header_offset))  # negative if the start of the zip is missing
    header = file.read(_LOCAL_HEADER.size if member.header_offset >= 0 else 0)
    if len(header) == _LOCAL_HEADER.size:
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if signature == _LOCAL_SIGNATURE:
            return member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    raise UserError(
        f"zip {name} is damaged: expected the header of '{member.filename}' at byte {member.header_offset:,}; download "
        f"it again, or {_REPACK}"
    )


def _checked_parts(member: zipfile.ZipInfo, name: str) -> tuple[str, ...]:
    """Returns the components of a member's path, or raises UserError if the member is unsafe or cannot be read."""
    path = _path(member).replace("\\", "/")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts or path[1:2] == ":":
        reason = "is outside the zip"
    elif stat.S_ISLNK(member.external_attr >> 16):
        reason = "is a link"
    elif member.flag_bits & _ENCRYPTED:
        reason = "is encrypted"
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        reason = f"is compressed by method {member.compress_type}"
    elif not (parts or path.endswith("/")):
        reason = "has no name"
    elif member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
        reason = "has two different sizes"
    else:
        return parts
    raise UserError(
        f"zip {name} cannot be used: its member '{path}' {reason}; expected only regular files and folders, stored or "
        f"deflated; {_REPACK}"
    )


def _path(member: zipfile.ZipInfo) -> str:
    """Returns the path of a member. Many programs write UTF-8 without the flag for it."""
    if member.flag_bits & _UTF8_NAME:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename
