import numpy as np
import pytest
from PIL import Image

from hamgan.errors import UserError
from hamgan.evaluation.image_folder import ImageFolder, read_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def _saved(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return str(path)


def test_images_are_found_in_subfolders_whatever_their_format_and_size(tmp_path):
    for name in ("b/1.png", "a/2.PNG", "a/deep/3.tiff", "4.webp", "5.ppm", "6.jpeg", ".hidden.png"):
        _saved(tmp_path / name, Image.fromarray(PIXELS))
    _saved(tmp_path / "other_size.bmp", Image.fromarray(PIXELS[:3]))
    (tmp_path / "notes.txt").write_text("x")
    assert ImageFolder(str(tmp_path)).count == 7


def test_identity_depends_on_contents_and_order_only(tmp_path):
    other = PIXELS[::-1].copy()
    for folder, names in (
        ("one", ("a.png", "b.png")),
        ("renamed", ("c.png", "d.png")),
        ("swapped", ("b.png", "a.png")),
    ):
        for name, pixels in zip(names, (PIXELS, other), strict=True):
            _saved(tmp_path / folder / name, Image.fromarray(pixels))
    one, renamed, swapped = (ImageFolder(str(tmp_path / name)).card() for name in ("one", "renamed", "swapped"))
    assert one == renamed
    assert one["sha256"] != swapped["sha256"]


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK"])
def test_opaque_images_are_converted_to_rgb(mode, tmp_path):
    image = Image.fromarray(PIXELS).convert(mode)
    path = _saved(tmp_path / f"image.{'tif' if mode == 'CMYK' else 'png'}", image)
    np.testing.assert_array_equal(read_rgb(path), np.asarray(image.convert("RGB")))


def _transparent():
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putpixel((0, 0), (1, 2, 3, 128))
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (_transparent(), "expected opaque images"),
        (Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 256), "expected 8 bits per channel"),
    ],
)
def test_other_pixels_are_refused(image, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read_rgb(_saved(tmp_path / "image.png", image))


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_damaged_files_are_named(content, tmp_path):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UserError, match=r"broken.png cannot be read as an image"):
        read_rgb(str(tmp_path / "broken.png"))


def test_truncated_files_are_named(tmp_path):
    path = tmp_path / "cut.png"
    _saved(path, Image.fromarray(PIXELS))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"cut.png cannot be read"):
        read_rgb(str(path))


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"expected images such as .png or .jpg, or a run .* found 1 other file"):
        ImageFolder(str(tmp_path))
