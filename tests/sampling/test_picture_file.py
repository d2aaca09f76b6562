import numpy as np
import pytest
from PIL import Image

from hamgan.errors import UserError
from hamgan.sampling.picture_file import write_picture


@pytest.fixture
def image():
    row = np.linspace(0, 255, 40, dtype=np.uint8)
    return np.stack([np.tile(row, (24, 1)), np.tile(row[::-1], (24, 1)), np.full((24, 40), 90, np.uint8)], -1)


@pytest.mark.parametrize(("ending", "error"), [("png", 0), ("webp", 0), ("jpg", 8), ("JPEG", 8)])
def test_pictures_are_read_back(image, ending, error, tmp_path):
    path = tmp_path / f"picture.{ending}"
    write_picture(str(path), image)
    read = np.asarray(Image.open(path)).astype(int)
    assert np.abs(read - image).max() <= error


def test_gray_pictures_are_gray(image, tmp_path):
    for ending in ("png", "jpg"):
        write_picture(str(tmp_path / f"picture.{ending}"), image[..., :1])
        assert Image.open(tmp_path / f"picture.{ending}").mode == "L"


def test_formats_that_cannot_hold_the_picture_are_refused(image, tmp_path):
    with pytest.raises(UserError, match=r"ends in .png, .jpg, .jpeg, .webp, found '.gif'"):
        write_picture(str(tmp_path / "picture.gif"), image)
    with pytest.raises(UserError, match=r"cannot write 1x20000 pixels in this format .*; choose .png"):
        write_picture(str(tmp_path / "picture.webp"), np.zeros((20000, 1, 3), np.uint8))
    assert not list(tmp_path.iterdir())
