import io
import struct
import zipfile
import zlib

import pytest

from data_prep.source_files import inflated
from data_prep.zip_index import is_zip, zip_members
from hamgan.errors import UserError

FILES = {"a/1.jpg": b"first" * 100, "a/2.jpg": b"second" * 50, "ü/3.jpg": b""}


def _zip(files=FILES, compression=zipfile.ZIP_DEFLATED, change=lambda info: None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            change(info)
            archive.writestr(info, data)
    return buffer.getvalue()


def _list(data):
    return list(zip_members(io.BytesIO(data), "x.zip"))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_found_in_place(compression):
    data = _zip(compression=compression)
    assert is_zip(io.BytesIO(data))
    found = {}
    for member in _list(data):
        stored = data[member.offset : member.offset + member.size]
        content = inflated(stored, member.content_size) if member.deflated else stored
        assert zlib.crc32(content) == member.crc
        found["/".join(member.parts)] = content
    assert found == FILES


def test_folders_are_no_members():
    assert [member.parts for member in _list(_zip({"a/": b"", "a/b": b"x"}))] == [("a", "b")]


def test_names_in_utf8_without_the_flag_are_read():
    data = _zip({"ab/x.jpg": b"1"}).replace(b"ab/x", "é/x".encode())
    assert [member.parts for member in _list(data)] == [("é", "x.jpg")]


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.jpg", "a/../../x.jpg", "C:/x.jpg", "..\\x.jpg"])
def test_paths_outside_are_refused(name):
    with pytest.raises(UserError, match=r"zip x\.zip cannot be used: its member .* is outside the zip"):
        _list(_zip({name: b"x"}))


def test_links_are_refused():
    def link(info):
        info.create_system, info.external_attr = 3, 0o120777 << 16

    with pytest.raises(UserError, match="'a' is a link"):
        _list(_zip({"a": b"/etc/passwd"}, change=link))


def test_encrypted_members_are_refused():
    data = bytearray(_zip({"a.jpg": b"x"}))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    with pytest.raises(UserError, match=r"'a\.jpg' is encrypted"):
        _list(bytes(data))


def test_unusual_compression_is_refused():
    with pytest.raises(UserError, match=r"'a\.jpg' is compressed by method 14"):
        _list(_zip({"a.jpg": b"x" * 99}, zipfile.ZIP_LZMA))


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_truncated_zip_is_refused(cut):
    with pytest.raises(UserError, match=r"zip x\.zip is damaged"):
        _list(_zip()[:-cut])


def test_zip_without_its_start_is_refused():
    with pytest.raises(UserError, match=r"zip x\.zip is damaged"):
        _list(_zip()[10:])


def test_damaged_header_is_refused():
    data = bytearray(_zip())
    data[data.index(b"PK\3\4", 1)] ^= 0x55
    with pytest.raises(UserError, match=r"is damaged: expected the header of 'a/2\.jpg' at byte"):
        _list(bytes(data))


def test_overlapping_members_are_refused():
    """As in a bomb whose members share one compressed content."""
    data = bytearray(_zip({"a.jpg": b"x" * 50, "b.jpg": b"y" * 50}, zipfile.ZIP_STORED))
    second = data.rindex(b"PK\1\2")
    struct.pack_into("<I", data, second + 42, 0)
    with pytest.raises(UserError, match="overlaps another one"):
        _list(bytes(data))


@pytest.mark.parametrize("size", [99, 101, 1 << 40])
def test_content_of_another_size_than_promised_is_refused(size):
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    stored = compressor.compress(b"x" * 100) + compressor.flush()
    assert inflated(stored, 100) == b"x" * 100
    with pytest.raises(ValueError, match="does not have the"):
        inflated(stored, size)
    with pytest.raises(ValueError, match="cannot be decompressed"):
        inflated(b"\xff" * 20, 100)
