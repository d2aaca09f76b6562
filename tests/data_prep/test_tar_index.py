import io
import tarfile

import pytest

from data_prep import tar_index
from data_prep.tar_index import tar_members
from hamgan.errors import UserError


def _tar(*members, mode="w", tar_format=tarfile.PAX_FORMAT):
    """Returns a tar of members, each given as name, content and header attributes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tar_format) as tar:
        for name, data, attributes in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            for attribute, value in attributes.items():
                setattr(header, attribute, value)
            tar.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def _list(data):
    return list(tar_members(io.BytesIO(data), "x.tar", size=len(data)))


def test_members_are_found_at_their_offsets():
    data = _tar(("./a/b.JPEG", b"first", {}), ("folder", b"", {"type": tarfile.DIRTYPE}), ("c" * 200, b"second", {}))
    members = _list(data)
    assert [member.parts for member in members] == [("a", "b.JPEG"), ("c" * 200,)]
    assert [data[member.offset : member.offset + member.size] for member in members] == [b"first", b"second"]


def test_inner_tar_is_listed_in_place():
    inner = _tar(("a.JPEG", b"image", {}))
    outer = _tar(("other", b"?" * 700, {}), ("n1.tar", inner, {}))
    _, inner_tar = _list(outer)
    (member,) = tar_members(io.BytesIO(outer), "n1.tar", start=inner_tar.offset, size=inner_tar.size)
    assert outer[member.offset : member.offset + member.size] == b"image"


def test_headers_are_not_kept_in_memory():
    data = _tar(*((f"{index}.JPEG", b"", {}) for index in range(3000)))
    seen = []
    original = tarfile.TarFile.next

    def next_member(tar):
        seen.append(len(tar.members))
        return original(tar)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tarfile.TarFile, "next", next_member)
        assert len(_list(data)) == 3000
    assert max(seen) <= 1


UNSAFE = {
    "absolute": ("/etc/passwd", b"x", {}),
    "parent": ("a/../../b.JPEG", b"x", {}),
    "backslash": ("a\\..\\..\\b.JPEG", b"x", {}),
    "symbolic_link": ("a.JPEG", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    "hard_link": ("a.JPEG", b"", {"type": tarfile.LNKTYPE, "linkname": "b"}),
    "device": ("a.JPEG", b"", {"type": tarfile.BLKTYPE}),
    "character_device": ("a.JPEG", b"", {"type": tarfile.CHRTYPE}),
    "nameless": (".", b"x", {}),
    "pipe": ("a.JPEG", b"", {"type": tarfile.FIFOTYPE}),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_member_is_rejected(case):
    with pytest.raises(
        UserError, match=r"tar x\.tar is not safe: its member '.*' (is outside|is a link|is neither|has no name)"
    ):
        _list(_tar(("good.JPEG", b"y", {}), UNSAFE[case]))


def test_header_that_claims_gigabytes_is_not_read():
    data = bytearray(_tar(("a" * 300, b"x", {}), tar_format=tarfile.GNU_FORMAT))
    header = tarfile.TarInfo.frombuf(bytes(data[:512]), "utf-8", "strict")
    header.size = tar_index.MAX_HEADER_BYTES * 4096
    data[:512] = header.tobuf(tarfile.GNU_FORMAT)[:512]
    with pytest.raises(UserError, match=r"not a complete, uncompressed tar .*a header claims"):
        _list(bytes(data))


def test_negative_size_is_rejected():
    data = bytearray(_tar(("a.JPEG", b"x" * 600, {}), ("b.JPEG", b"x", {})))
    header = tarfile.TarInfo("a.JPEG")
    header.size = -512
    data[:512] = header.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(UserError):
        _list(bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_tar(("a.JPEG", b"x", {}), mode="w:gz"), "is compressed with gzip"),
        (_tar(("a.JPEG", b"x", {}), mode="w:xz"), "is compressed with xz"),
        (_tar(("a.JPEG", b"x", {}), mode="w:bz2"), "is compressed with bzip2"),
        (b"PK\x03\x04" + b"\0" * 600, "is a zip file"),
        (b"<!DOCTYPE html>" + b" " * 600, "is an HTML or XML file"),
        (b"\xff\xd8\xff\xe0" + b" " * 600, "is a JPEG image"),
        (b"nonsense" * 100, "is not a complete, uncompressed tar"),
        (_tar(("a.JPEG", b"x" * 5000, {}))[:2000], "truncated|not a complete"),
        (b"", "is not a complete"),
    ],
    # Bytes would be the names of the tests, and gzip's hold the time: no two processes would collect the same tests.
    ids=["gzip", "xz", "bzip2", "zip", "HTML", "JPEG", "text", "truncated", "empty"],
)
def test_other_file_formats_are_named(data, message):
    with pytest.raises(UserError, match=message):
        _list(data)


IMAGES = _tar(*((f"{index}.JPEG", bytes([index + 1]) * 700, {}) for index in range(5)))
MEMBER = 3 * 512
"""Size of each member with its header, in bytes."""
END = 5 * MEMBER


def test_tar_may_be_padded_with_zeros():
    for padding in (1024, 10240, 1 << 21):
        assert len(_list(IMAGES[:END] + bytes(padding))) == 5


@pytest.mark.parametrize("damaged_member", [1, 3, 4])
@pytest.mark.parametrize("position", [0, 100, 148, 511])
def test_damaged_header_is_not_mistaken_for_the_end(damaged_member, position):
    data = bytearray(IMAGES)
    data[damaged_member * MEMBER + position] ^= 0x55
    with pytest.raises(UserError, match=r"tar x\.tar is damaged: expected a file header or the end of the tar at byte"):
        _list(bytes(data))


@pytest.mark.parametrize("zeros", [512, 1024])
def test_zeroed_header_is_not_mistaken_for_the_end(zeros):
    data = bytearray(IMAGES)
    data[2 * MEMBER : 2 * MEMBER + zeros] = bytes(zeros)
    with pytest.raises(UserError, match=r"tar x\.tar (is damaged|has data after its end)"):
        _list(bytes(data))


@pytest.mark.parametrize("size", [END, END + 1, END + 512, END + 1023, 2 * MEMBER, 2 * MEMBER + 200, 2 * MEMBER + 512])
def test_tar_without_its_end_is_truncated(size):
    with pytest.raises(UserError, match=r"tar x\.tar is truncated"):
        _list(IMAGES[:size])


@pytest.mark.parametrize("appended", [IMAGES, b"x", bytes(1 << 21) + b"x"])
def test_data_after_the_end_is_rejected(appended):
    with pytest.raises(UserError, match=r"tar x\.tar has data after its end"):
        _list(IMAGES + appended)


def test_damaged_inner_tar_is_named():
    inner = bytearray(IMAGES)
    inner[2 * MEMBER] ^= 0x55
    outer = _tar(("n1.tar", bytes(inner), {}), ("n2.tar", IMAGES, {}))
    first, second = _list(outer)
    assert len(list(tar_members(io.BytesIO(outer), "n2.tar", start=second.offset, size=second.size))) == 5
    with pytest.raises(UserError, match=r"tar n1\.tar is damaged"):
        list(tar_members(io.BytesIO(outer), "n1.tar", start=first.offset, size=first.size))


def test_empty_tar_has_no_members():
    assert _list(_tar()) == []
