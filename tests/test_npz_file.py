import contextlib
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from hamgan.errors import UserError
from hamgan.evaluation.npz_images import NpzImages
from hamgan.npz_file import read_arrays, read_header, read_rows, reading_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 5, 3), np.uint8)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("first", [0, 8, 22])
def test_rows_are_read_in_batches(save, first, tmp_path):
    path = str(tmp_path / "images.npz")
    save(path, IMAGES, np.arange(23))
    with reading_npz(path) as archive:
        assert read_header(archive, "arr_0").shape == IMAGES.shape
        batches = list(read_rows(archive, "arr_0", first=first, batch=7))
    assert [len(batch) for batch in batches[:-1]] == [7] * (len(batches) - 1)
    np.testing.assert_array_equal(np.concatenate(batches), IMAGES[first:])


def test_memory_is_that_of_a_batch(tmp_path):
    path = str(tmp_path / "images.npz")
    np.savez(path, np.zeros((2000, 32, 32, 3), np.uint8))
    tracemalloc.start()
    with reading_npz(path) as archive:
        assert sum(len(batch) for batch in read_rows(archive, "arr_0", first=0, batch=10)) == 2000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000  # The array has 6 MB.


def test_identity_does_not_depend_on_compression_and_labels(tmp_path):
    np.savez(tmp_path / "stored.npz", IMAGES, np.arange(23))
    np.savez_compressed(tmp_path / "compressed.npz", IMAGES)
    np.savez(tmp_path / "other.npz", IMAGES[::-1])
    stored, compressed, other = (
        NpzImages(str(tmp_path / f"{name}.npz")).card() for name in ("stored", "compressed", "other")
    )
    assert stored == compressed
    assert stored["sha256"] != other["sha256"]


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(np.float32),
        IMAGES[0],
        np.moveaxis(IMAGES, -1, 1),
        IMAGES[..., [0, 1, 2, 0]],
        IMAGES[:0],
        np.asfortranarray(IMAGES),
    ],
)
def test_other_arrays_are_refused(images, tmp_path):
    path = str(tmp_path / "images.npz")
    np.savez(path, images)
    with pytest.raises(UserError, match=re.escape("expected arr_0 to be uint8 of shape (n, height, width, 3)")):
        NpzImages(path)


def test_truncated_and_damaged_files_are_named(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, IMAGES)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"images.npz is no complete .npz file"):
        NpzImages(str(path))
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"no complete .npz file .*CRC"):
        NpzImages(str(path)).card()


def test_a_shorter_array_than_its_header_says_is_named(tmp_path):
    np.savez(tmp_path / "images.npz", IMAGES)
    with zipfile.ZipFile(tmp_path / "images.npz") as archive:
        content = archive.read("arr_0.npy")
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("arr_0.npy", content[:-1])
    with pytest.raises(UserError, match="ends early"):
        NpzImages(str(tmp_path / "short.npz")).card()


def test_an_empty_file_is_too_short(tmp_path):
    path = tmp_path / "arrays.npz"
    path.touch()
    with pytest.raises(UserError, match=r"no complete .npz file \(it is too short\); copy or write it again"):
        read_arrays(str(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_files_are_read_or_refused(save, tmp_path):
    path = tmp_path / "arrays.npz"
    save(path, a=np.arange(40.0).reshape(5, 8), b=np.float32(3), names=np.array(["x", "yy"]))
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for case in range(150):
        damaged = bytearray(content[: rng.integers(len(content))] if case % 3 == 0 else content)
        for _ in range(rng.integers(1, 5) if damaged else 0):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            refused += 1
            read_arrays(str(path))
            refused -= 1
    assert refused > 75


def test_all_arrays_are_read_by_name(tmp_path):
    path = str(tmp_path / "arrays.npz")
    np.savez(path, images=IMAGES, count=3)
    arrays = read_arrays(path)
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    assert arrays.keys() == {"images", "count"}
    assert arrays["count"] == 3
