import io

import numpy as np
import pytest
from golden_seg import load_golden
from PIL import Image

from hamgan.segmentation.data.palette import encode_mask, overlay, voc_palette, write_mask


def test_published_palette():
    np.testing.assert_array_equal(voc_palette(), load_golden("msflip")["palette"])


def test_files_keep_indices_and_colors(tmp_path):
    mask = np.arange(256, dtype=np.uint8).reshape(8, 32)
    write_mask(str(tmp_path / "results" / "mask.png"), mask)
    with Image.open(tmp_path / "results" / "mask.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), mask)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette()[mask])


def test_few_classes_need_no_fewer_bits():
    with Image.open(io.BytesIO(encode_mask(np.zeros((3, 5), np.uint8)))) as image:
        assert image.size == (5, 3)
    assert encode_mask(np.zeros((3, 5), np.uint8))[24] == 8  # bits of a pixel in the header


@pytest.mark.parametrize("mask", [np.zeros((3, 5), np.int64), np.zeros((3, 5, 1), np.uint8)])
def test_other_arrays_are_refused(mask):
    with pytest.raises(ValueError, match="mask must be uint8"):
        encode_mask(mask)


def test_overlay_colors_all_but_the_background():
    image = np.full((1, 3, 3), 100, np.uint8)
    found = overlay(image, np.array([[0, 1, 255]], np.uint8), opacity=0.25)
    np.testing.assert_array_equal(found, [[[100, 100, 100], [107, 75, 75], [131, 131, 123]]])
