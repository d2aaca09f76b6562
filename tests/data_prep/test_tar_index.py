import io
import tarfile

import pytest

from data_prep import tar_index
from data_prep.tar_index import tar_members
from hamgan.errors import UserError


def _tar(*members, mode="w", form=tarfile.PAX_FORMAT):
    """A tar of (name, data, attributes of the header)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as tar:
        for name, data, attributes in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            for attribute, value in attributes.items():
                setattr(header, attribute, value)
            tar.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def _list(data):
    return list(tar_members(io.BytesIO(data), "x.tar", size=len(data)))


def test_members_lie_where_they_are_said_to():
    data = _tar(("./a/b.JPEG", b"first", {}), ("folder", b"", {"type": tarfile.DIRTYPE}), ("c" * 200, b"second", {}))
    members = _list(data)
    assert [member.parts for member in members] == [("a", "b.JPEG"), ("c" * 200,)]
    assert [data[member.offset : member.offset + member.size] for member in members] == [b"first", b"second"]


def test_a_tar_within_a_tar_is_listed_in_place():
    inner = _tar(("a.JPEG", b"image", {}))
    outer = _tar(("other", b"?" * 700, {}), ("n1.tar", inner, {}))
    _, place = _list(outer)
    (member,) = tar_members(io.BytesIO(outer), "n1.tar", start=place.offset, size=place.size)
    assert outer[member.offset : member.offset + member.size] == b"image"


def test_headers_are_not_kept():
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


HOSTILE = {
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


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_member_is_refused(case):
    with pytest.raises(
        UserError, match=r"tar x\.tar is not safe: its member '.*' (lies outside|is a link|is neither|has no name)"
    ):
        _list(_tar(("good.JPEG", b"y", {}), HOSTILE[case]))


def test_a_header_that_claims_gigabytes_is_not_read():
    data = bytearray(_tar(("a" * 300, b"x", {}), form=tarfile.GNU_FORMAT))
    header = tarfile.TarInfo.frombuf(bytes(data[:512]), "utf-8", "strict")
    header.size = tar_index.MAX_HEADER_BYTES * 4096
    data[:512] = header.tobuf(tarfile.GNU_FORMAT)[:512]
    with pytest.raises(UserError, match=r"not a whole, uncompressed tar .*a header claims"):
        _list(bytes(data))


def test_a_negative_size_is_refused():
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
        (b"<!DOCTYPE html>" + b" " * 600, "is a web page"),
        (b"\xff\xd8\xff\xe0" + b" " * 600, "is a JPEG image"),
        (b"nonsense" * 100, "is not a whole, uncompressed tar"),
        (_tar(("a.JPEG", b"x" * 5000, {}))[:2000], "cut off|not a whole"),
        (b"", "is not a whole"),
    ],
)
def test_what_is_no_tar_is_named(data, message):
    with pytest.raises(UserError, match=message):
        _list(data)


IMAGES = _tar(*((f"{index}.JPEG", bytes([index + 1]) * 700, {}) for index in range(5)))
MEMBER = 3 * 512
"""Bytes of each image in it, with its header."""
END = 5 * MEMBER


def test_a_tar_may_be_padded_or_not():
    for padding in (1024, 10240, 1 << 21):
        assert len(_list(IMAGES[:END] + bytes(padding))) == 5


@pytest.mark.parametrize("damaged_member", [1, 3, 4])
@pytest.mark.parametrize("position", [0, 100, 148, 511])
def test_a_damaged_header_is_not_the_end(damaged_member, position):
    data = bytearray(IMAGES)
    data[damaged_member * MEMBER + position] ^= 0x55
    with pytest.raises(UserError, match=r"tar x\.tar is damaged: found no header of a file at byte"):
        _list(bytes(data))


@pytest.mark.parametrize("zeros", [512, 1024])
def test_zeros_in_place_of_a_header_are_not_the_end(zeros):
    data = bytearray(IMAGES)
    data[2 * MEMBER : 2 * MEMBER + zeros] = bytes(zeros)
    with pytest.raises(UserError, match=r"tar x\.tar (is damaged|has something after its end)"):
        _list(bytes(data))


@pytest.mark.parametrize("size", [END, END + 1, END + 512, END + 1023, 2 * MEMBER, 2 * MEMBER + 200, 2 * MEMBER + 512])
def test_a_tar_without_its_end_is_cut_off(size):
    with pytest.raises(UserError, match=r"tar x\.tar is cut off"):
        _list(IMAGES[:size])


@pytest.mark.parametrize("appended", [IMAGES, b"x", bytes(1 << 21) + b"x"])
def test_what_follows_the_end_is_not_left_out(appended):
    with pytest.raises(UserError, match=r"tar x\.tar has something after its end"):
        _list(IMAGES + appended)


def test_a_damaged_tar_within_a_tar_is_named():
    inner = bytearray(IMAGES)
    inner[2 * MEMBER] ^= 0x55
    outer = _tar(("n1.tar", bytes(inner), {}), ("n2.tar", IMAGES, {}))
    first, second = _list(outer)
    assert len(list(tar_members(io.BytesIO(outer), "n2.tar", start=second.offset, size=second.size))) == 5
    with pytest.raises(UserError, match=r"tar n1\.tar is damaged"):
        list(tar_members(io.BytesIO(outer), "n1.tar", start=first.offset, size=first.size))


def test_a_tar_of_nothing_has_no_members():
    assert _list(_tar()) == []
