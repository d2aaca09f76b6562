"""Write a small synthetic ImageNet, with the file names and archives of ILSVRC 2012, to try the commands on.

  python -m data_prep.fake_imagenet --out /tmp/fake --layout tars --classes 10 --train_per_class 20

Each class has its own colors and number of stripes, so a network can learn to tell classes apart. Unless --no_flaws is
given, the first class also has a CMYK JPEG, a PNG named .JPEG and a truncated JPEG.
"""

import argparse
import colorsys
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from data_prep.ilsvrc import TRAIN_TAR, VALIDATION_TAR, synsets, validation_labels
from hamgan.errors import UserError
from hamgan.program import exit_code_of, run_program

LAYOUTS = ("tars", "folders", "class_folders")
"""The original tars; folders with all validation images in ``val``; folders with one folder per class in ``val``."""

FLAWS = ("cmyk", "png", "truncated")
"""Flawed files that the first class can have."""

ImageMaker = Callable[[np.random.Generator, int], bytes]
"""Function from a random generator and a label to the bytes of a JPEG file."""


def painted_jpeg(rng: np.random.Generator, label: int) -> bytes:
    """Returns a JPEG file with the colors and stripes of a class, 80 to 239 pixels high and wide."""
    return _encoded(_painting(rng, label), "JPEG", quality=int(rng.integers(70, 96)))


def write_fake_imagenet(
    folder: str,
    *,
    layout: str,
    classes: Sequence[str],
    train_per_class: int,
    validation_per_class: int,
    flaws: bool,
    seed: int = 0,
    image: ImageMaker = painted_jpeg,
) -> None:
    """Writes a synthetic ImageNet in one of the layouts of ILSVRC 2012.

    Args:
        folder: folder to write, which must not exist.
        layout: one of ``LAYOUTS``.
        classes: synsets of the classes to write.
        train_per_class: number of training images per class, without flawed ones.
        validation_per_class: number of validation images per class, at most 50. They get the first numbers that
            ILSVRC 2012 assigns to their class.
        flaws: whether to add the files of ``FLAWS`` to the first class.
        seed: seed of the images.
        image: function that creates an image.

    Raises:
        UserError: the folder exists, or a value is out of range.
    """
    if layout not in LAYOUTS:
        raise UserError(f"--layout must be one of {', '.join(LAYOUTS)}, found '{layout}'")
    if not 0 < validation_per_class <= 50 or train_per_class <= 0:
        raise UserError(
            "expected at least 1 training image and 1 to 50 validation images per class, found "
            f"{train_per_class} and {validation_per_class}"
        )
    if os.path.exists(folder):
        raise UserError(f"{folder} exists already; choose another --out or delete it")
    rng = np.random.default_rng(seed)
    os.makedirs(folder)
    train = ((synset, _train_images(rng, synset, train_per_class, image)) for synset in classes)
    if layout == "tars":
        with tarfile.open(os.path.join(folder, TRAIN_TAR), "w") as tar:
            for index, (synset, images) in enumerate(train):
                inner = io.BytesIO()
                with tarfile.open(fileobj=inner, mode="w") as inner_tar:
                    for name, data in [*images, *(_flawed_images(rng, synset) if flaws and index == 0 else ())]:
                        add_to_tar(inner_tar, name, data)
                add_to_tar(tar, f"{synset}.tar", inner.getvalue())
        with tarfile.open(os.path.join(folder, VALIDATION_TAR), "w") as tar:
            for name, _, data in _validation_images(rng, classes, validation_per_class, image):
                add_to_tar(tar, name, data)
        return
    for index, (synset, images) in enumerate(train):
        for name, data in [*images, *(_flawed_images(rng, synset) if flaws and index == 0 else ())]:
            _write(os.path.join(folder, "train", synset, name), data)
    for name, synset, data in _validation_images(rng, classes, validation_per_class, image):
        _write(os.path.join(folder, "val", synset if layout == "class_folders" else "", name), data)


def add_to_tar(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file to a tar, with a header that does not depend on the time or the user."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))


def flawed_name(synset: str, flaw: str) -> str:
    """Returns the file name of the image with the given flaw, one of ``FLAWS``."""
    return f"{synset}_{90_000 + FLAWS.index(flaw)}.JPEG"


def _train_images(rng: np.random.Generator, synset: str, count: int, image: ImageMaker) -> Iterator[tuple[str, bytes]]:
    for index in range(count):
        yield f"{synset}_{index}.JPEG", image(rng, synsets().index(synset))


def _flawed_images(rng: np.random.Generator, synset: str) -> Iterator[tuple[str, bytes]]:
    painting = _painting(rng, synsets().index(synset))
    yield flawed_name(synset, "cmyk"), _encoded(painting.convert("CMYK"), "JPEG")
    yield flawed_name(synset, "png"), _encoded(painting, "PNG")
    whole = _encoded(painting, "JPEG")
    yield flawed_name(synset, "truncated"), whole[: len(whole) // 2]


def _validation_images(
    rng: np.random.Generator, classes: Sequence[str], per_class: int, image: ImageMaker
) -> Iterator[tuple[str, str, bytes]]:
    missing = dict.fromkeys(classes, per_class)
    for number, label in enumerate(validation_labels(), start=1):
        synset = synsets()[label]
        if missing.get(synset, 0) > 0:
            missing[synset] -= 1
            yield f"ILSVRC2012_val_{number:08d}.JPEG", synset, image(rng, label)


def _painting(rng: np.random.Generator, label: int) -> Image.Image:
    height, width = (int(length) for length in rng.integers(80, 240, 2))
    y, x = np.mgrid[:height, :width] / max(height, width)
    angle, shift = rng.normal(0.3, 0.2), rng.random()
    stripes = np.sin(2 * np.pi * ((2 + label % 7) * (x * np.cos(angle) + y * np.sin(angle)) + shift))
    light = np.array(colorsys.hsv_to_rgb((label * 0.618) % 1, 0.7, 0.95))
    dark = np.array(colorsys.hsv_to_rgb((label * 0.618 + 0.3) % 1, 0.8, 0.35))
    pixels = dark + (light - dark) * (0.5 + 0.5 * stripes[..., np.newaxis])
    pixels = 255 * pixels + rng.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _encoded(image: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.fake_imagenet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, which must not exist")
    parser.add_argument("--layout", default="tars", metavar="NAME", help=f"one of {', '.join(LAYOUTS)} (default: tars)")
    parser.add_argument(
        "--classes", type=int, default=10, metavar="N", help="number of classes, 1 to 1000 (default: 10)"
    )
    parser.add_argument(
        "--train_per_class", type=int, default=20, metavar="N", help="training images per class (default: 20)"
    )
    parser.add_argument(
        "--validation_per_class",
        type=int,
        default=5,
        metavar="N",
        help="validation images per class, 1 to 50 (default: 5)",
    )
    parser.add_argument("--no_flaws", action="store_true", help="write no CMYK, PNG or truncated files")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the images (default: 0)")
    arguments = parser.parse_args(argv)
    return exit_code_of("fake_imagenet", lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.classes <= len(synsets()):
        raise UserError(f"--classes: expected 1 to {len(synsets()):,}, found {arguments.classes}")
    write_fake_imagenet(
        arguments.out,
        layout=arguments.layout,
        classes=synsets()[: arguments.classes],
        train_per_class=arguments.train_per_class,
        validation_per_class=arguments.validation_per_class,
        flaws=not arguments.no_flaws,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    run_program("fake_imagenet", main)
