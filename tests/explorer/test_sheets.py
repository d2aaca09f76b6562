import base64
import io

import numpy as np
import pytest
from PIL import Image

from hamgan.explorer.sheets import QUALITIES, sheet


def decoded(made):
    head, data = made["uri"].split(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_holds_the_pictures_row_by_row(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, channels), np.uint8)
    made = sheet(images, columns=3, quality=QUALITIES[0])
    assert (made["columns"], made["rows"], made["count"]) == (3, 2, 5)
    pixels = decoded(made)
    assert pixels.shape == (16, 24, 3)
    for index, image in enumerate(images):
        row, column = divmod(index, 3)
        found = pixels[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
        np.testing.assert_array_equal(found, np.broadcast_to(image, found.shape))
    assert not pixels[8:, 16:].any()


def test_lower_qualities_are_smaller():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    sizes = [len(sheet(images, columns=2, quality=quality)["uri"]) for quality in QUALITIES]
    assert sizes == sorted(sizes, reverse=True)


def test_refuses_more_than_webp_can_hold():
    with pytest.raises(ValueError, match="4097x1 pictures of 4 pixels"):
        sheet(np.zeros((4097, 4, 4, 3), np.uint8), columns=1, quality=30)
