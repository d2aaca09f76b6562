import io
import zlib

import numpy as np
import pytest
import scipy.io
from PIL import Image

from data_prep.collection import DamagedImageError
from data_prep.fake_voc import sbd_file
from data_prep.mask import MaskFormatError, read_mask, values_of
from data_prep.masked_images import MaskValues
from data_prep.sbd_file import MAX_CONTENT_BYTES
from hamgan.segmentation.data.palette import encode_mask

MASK = np.random.default_rng(0).choice([0, 3, 20, 255], (13, 17)).astype(np.uint8)


def _file(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _matlab(**content):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content, do_compression=True)
    return buffer.getvalue()


FILES = {
    "palette": encode_mask(MASK),
    "gray": _file(Image.fromarray(MASK)),
    "16 bits": _file(Image.fromarray(MASK.astype(np.uint16))),
    "bmp": _file(Image.fromarray(MASK), "BMP"),
    "tiff": _file(Image.fromarray(MASK), "TIFF"),
    "sbd": sbd_file(MASK),
}


@pytest.mark.parametrize("kind", FILES)
def test_indices_are_read(kind):
    found = read_mask(FILES[kind])
    np.testing.assert_array_equal(found, MASK)
    assert values_of(found) == (0, 3, 20, 255)


def test_palette_of_few_bits_gives_indices():
    mask = MASK % 2
    image = Image.fromarray(mask)
    image.putpalette([9, 8, 7, 200, 100, 50])
    np.testing.assert_array_equal(read_mask(_file(image, bits=1)), mask)
    np.testing.assert_array_equal(read_mask(_file(Image.fromarray(mask.astype(bool)))), mask)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_file(Image.fromarray(MASK).convert("RGB")), "RGB pixels; expected a PNG with a palette or in gray"),
        (_file(Image.fromarray(MASK).convert("LA")), "LA pixels"),
        (_file(Image.fromarray(MASK), "JPEG"), "JPEG, which changes values"),
        (_file(Image.fromarray(MASK), "GIF"), "GIF, which changes values"),
    ],
)
def test_colors_are_refused(data, message):
    with pytest.raises(MaskFormatError, match=message):
        read_mask(data)


DAMAGED = {
    "empty": b"",
    "text": b"hello",
    "truncated png": FILES["palette"][:-40],
    "truncated sbd": FILES["sbd"][:200],
    "flipped sbd": FILES["sbd"][:150] + b"\xff\xff" + FILES["sbd"][152:],
    "header only": FILES["sbd"][:128],
    "other variable": _matlab(GTinst={"Segmentation": MASK}),
    "no struct": _matlab(GTcls=MASK),
    "other field": _matlab(GTcls={"Boundaries": MASK}),
    "numbers": _matlab(GTcls={"Segmentation": MASK / 2}),
    "cube": _matlab(GTcls={"Segmentation": np.zeros((2, 3, 4), np.uint8)}),
    "text for a matrix": _matlab(GTcls={"Segmentation": "abc"}),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_is_refused(kind):
    with pytest.raises(DamagedImageError):
        read_mask(DAMAGED[kind])


def test_compressed_zeros_do_not_fill_the_memory():
    bomb = zlib.compress(bytes(MAX_CONTENT_BYTES + 1000))
    data = FILES["sbd"][:128] + (15).to_bytes(4, "little") + len(bomb).to_bytes(4, "little") + bomb
    with pytest.raises(DamagedImageError, match="more than 67,108,864 bytes once it is decompressed"):
        read_mask(data)


def test_values_become_labels():
    values = MaskValues(("road", "car", "tree"), (0, 2, 999))
    assert values.value_of_class == (1, 3, 4)
    assert values.unknown((0, 1, 2, 5, 999)) == [5]
    found = values.labels(np.array([[0, 1, 2], [3, 4, 999]], np.uint16))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[255, 0, 255], [1, 2, 255]])
