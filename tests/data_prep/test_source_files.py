import os
import tarfile
import zipfile

import pytest

from data_prep import source_files
from data_prep.source_files import find_files, inflated, read_files
from hamgan.errors import UserError

FILES = {"a/1.jpg": b"one" * 99, "a/b/2.jpg": b"two", "ü 3.txt": b"three"}
SYSTEM_FILES = {".hidden": b"x", "a/.DS_Store": b"x", "a/Thumbs.db": b"x", "__MACOSX/a/._1.jpg": b"x"}


def _write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def _archive(path, folder, names):
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as tar:
            for name in names:
                tar.add(folder / name, name)
    else:
        compression = zipfile.ZIP_STORED if path.stem == "stored" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name in names:
                archive.write(folder / name, name)
    return path


@pytest.mark.parametrize("kind", ["", "x.tar", "stored.zip", "deflated.zip"])
def test_every_source_gives_the_same_files(tmp_path, kind):
    source = _write(tmp_path / "source", FILES | SYSTEM_FILES)
    if kind:
        source = _archive(tmp_path / kind, source, list(FILES | SYSTEM_FILES)[::-1])
    files, problems = find_files(str(source))
    contents = read_files(str(source), files)
    assert {file.name: content for file, content in zip(files, contents, strict=True)} == FILES
    assert [file.name for file in files] == sorted(FILES)
    assert {problem.kind for problem in problems} == {"system_file"}


def test_links_are_followed_and_loops_and_broken_ones_reported(tmp_path):
    source = _write(tmp_path / "source", {"a/1.jpg": b"1"})
    elsewhere = _write(tmp_path / "elsewhere", {"2.jpg": b"2"})
    os.symlink(elsewhere / "2.jpg", source / "a" / "file.jpg")
    os.symlink(elsewhere, source / "folder")
    os.symlink("nowhere", source / "broken.jpg")
    os.symlink(source, source / "a" / "loop")
    os.symlink("..", elsewhere / "up")  # leads back to the source, which then leads here again
    os.mkfifo(source / "pipe.jpg")
    files, problems = find_files(str(source))
    assert {"a/1.jpg", "a/file.jpg", "folder/2.jpg"} <= {file.name for file in files}
    kinds = {(problem.kind, problem.where) for problem in problems}
    assert {("broken_link", "broken.jpg"), ("link_loop", "a/loop"), ("not_a_picture", "pipe.jpg")} <= kinds
    assert ("link_loop", "folder/up/elsewhere") in kinds


def test_same_name_twice_in_an_archive_is_reported(tmp_path):
    source = _write(tmp_path / "source", {"1.jpg": b"1"})
    files, problems = find_files(str(_archive(tmp_path / "x.tar", source, ["1.jpg", "1.jpg"])))
    assert len(files) == 1
    assert [(problem.kind, problem.where) for problem in problems] == [("duplicate_name", "1.jpg")]


def test_wrong_checksum_in_a_zip_is_refused(tmp_path):
    path = _archive(tmp_path / "stored.zip", _write(tmp_path / "source", FILES), FILES)
    path.write_bytes(path.read_bytes().replace(b"oneone", b"onetwo", 1))
    files, _ = find_files(str(path))
    with pytest.raises(UserError, match=r"is damaged: its member 'a/1\.jpg' has a wrong checksum; download or copy"):
        list(read_files(str(path), files))


def test_large_members_are_not_decompressed(tmp_path, monkeypatch):
    path = _archive(tmp_path / "deflated.zip", _write(tmp_path / "source", FILES), FILES)
    files, _ = find_files(str(path))
    monkeypatch.setattr(source_files, "MAX_IMAGE_BYTES", 100)
    decompressed = []
    monkeypatch.setattr(source_files, "inflated", lambda *args: decompressed.append(args[1]) or inflated(*args))
    contents = {file.name: content for file, content in zip(files, read_files(str(path), files), strict=True)}
    assert "expected at most 100 bytes, found 297" in str(contents.pop("a/1.jpg"))
    assert set(contents.values()) == {b"two", b"three"}
    assert sorted(decompressed) == [3, 5]


def test_missing_source_and_compressed_tar_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file or folder; expected a folder, a zip or an uncompressed tar"):
        find_files(str(tmp_path / "nothing"))
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz"):
        pass
    with pytest.raises(UserError, match="is compressed with gzip"):
        find_files(str(tmp_path / "x.tar.gz"))


def test_buckets_are_searched():
    import tensorflow as tf

    for name, data in FILES.items():
        folder = os.path.dirname(f"ram://bucket/photos/{name}")
        tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(f"ram://bucket/photos/{name}", "wb") as file:
            file.write(data)
    files, problems = find_files("ram://bucket/photos")
    contents = read_files("ram://bucket/photos", files)
    assert {file.name: content for file, content in zip(files, contents, strict=True)} == FILES
    assert not problems
