import zipfile

import numpy as np
import pytest

from hamgan.sampling.image_arrays import write_image_arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5], np.int32)


def test_numpy_reads_images_and_labels(tmp_path):
    path = tmp_path / "new" / "samples.npz"
    write_image_arrays(str(path), [IMAGES[:2], IMAGES[2:]], LABELS, (4, 6, 3))
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays.files == ["arr_0", "arr_1"]
        np.testing.assert_array_equal(arrays["arr_0"], IMAGES)
        np.testing.assert_array_equal(arrays["arr_1"], LABELS)
        assert (arrays["arr_0"].dtype, arrays["arr_1"].dtype) == (np.uint8, np.int64)


def test_the_members_can_be_streamed(tmp_path):
    # guided-diffusion's evaluator reads a header and then as many bytes as it wants.
    path = tmp_path / "samples.npz"
    write_image_arrays(str(path), iter([IMAGES]), LABELS, (4, 6, 3))
    with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as member:
        assert np.lib.format.read_magic(member) == (1, 0)
        assert np.lib.format.read_array_header_1_0(member) == ((5, 4, 6, 3), False, np.uint8)
        assert member.read(IMAGES[0].size) == IMAGES[0].tobytes()


def test_equal_content_gives_equal_bytes(tmp_path):
    for name, batches in (("a", [IMAGES]), ("b", [IMAGES[:4], IMAGES[4:]])):
        write_image_arrays(str(tmp_path / name), batches, LABELS, (4, 6, 3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([IMAGES[:4]], "5 images, one for each label, received 4"),
        ([IMAGES, IMAGES], "received 10"),
        ([IMAGES.astype(np.float32)], "must be uint8 of shape"),
        ([IMAGES[:, :3]], "must be uint8 of shape"),
    ],
)
def test_other_batches_are_refused_and_nothing_stays(batches, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_image_arrays(str(tmp_path / "samples.npz"), batches, LABELS, (4, 6, 3))
    assert not list(tmp_path.iterdir())
