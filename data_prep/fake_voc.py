"""Write a small synthetic PASCAL VOC 2012 with SBD, with their folders and file formats, to try the commands on.

  python -m data_prep.fake_voc --out /tmp/fake_voc
  hamnet prepare voc --source /tmp/fake_voc/VOCdevkit --sbd /tmp/fake_voc/benchmark_RELEASE --data_dir data --partial

Images show ellipses in the color of their class.
"""

import argparse
import io
import os

import numpy as np
import scipy.io
from PIL import Image

from data_prep.voc import VOC_CLASSES
from hamgan.errors import UserError
from hamgan.files import write_atomically
from hamgan.program import exit_code_of, run_program
from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.data.palette import encode_mask, voc_palette

DEVKIT = "VOCdevkit/VOC2012"
SBD = "benchmark_RELEASE/dataset"
_SHAPES_PER_IMAGE = 2
_BORDER = 1.12
"""Size of a shape with its border, relative to the shape."""
_NOISE = 20


def write_fake_voc(folder: str, *, train: int = 6, validation: int = 4, sbd: int = 8, seed: int = 0) -> None:
    """Writes a synthetic PASCAL VOC 2012, and the labels of SBD for all of its images and more.

    Args:
        folder: folder to write, which must not exist.
        train: number of training images of VOC.
        validation: number of validation images of VOC.
        sbd: number of images that only SBD labels.
        seed: seed of the images.

    Raises:
        UserError: the folder exists, or a number is not positive.
    """
    if min(train, validation, sbd) < 1:
        raise UserError(f"expected at least 1 image of each kind, found {train}, {validation} and {sbd}")
    if os.path.exists(folder):
        raise UserError(f"{folder} exists already; choose another --out or delete it")
    rng = np.random.default_rng(seed)
    names = [f"2007_{number:06d}" for number in rng.permutation(999)[: train + validation + sbd]]
    lists = {"train": names[:train], "val": names[train : train + validation], "trainval": names[: train + validation]}
    for name, members in lists.items():
        text = "".join(f"{member}\n" for member in sorted(members))
        write_atomically(os.path.join(folder, DEVKIT, "ImageSets/Segmentation", f"{name}.txt"), text.encode())
    for index, name in enumerate(names):
        mask = _mask(rng, index)
        inside = np.where(mask == IGNORED, 0, mask).astype(np.uint8)
        write_atomically(os.path.join(folder, DEVKIT, "JPEGImages", f"{name}.jpg"), _photograph(rng, inside))
        if name in lists["trainval"]:
            write_atomically(os.path.join(folder, DEVKIT, "SegmentationClass", f"{name}.png"), encode_mask(mask))
        write_atomically(os.path.join(folder, SBD, "cls", f"{name}.mat"), sbd_file(inside))


def _mask(rng: np.random.Generator, index: int) -> np.ndarray:
    """Returns ellipses of some classes with borders to ignore, on background."""
    height, width = rng.integers(60, 120, 2)
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    for shape in range(_SHAPES_PER_IMAGE):
        label = 1 + (index * _SHAPES_PER_IMAGE + shape) % (len(VOC_CLASSES) - 1)
        center, radii = rng.uniform(0.2, 0.8, 2) * mask.shape, rng.uniform(0.15, 0.3, 2) * mask.shape
        distance = np.hypot((rows - center[0]) / radii[0], (columns - center[1]) / radii[1])
        mask[distance < _BORDER] = IGNORED
        mask[distance < 1] = label
    return mask


def _photograph(rng: np.random.Generator, mask: np.ndarray) -> bytes:
    colors = voc_palette()[mask].astype(np.float64) * 0.8 + 40
    pixels = np.clip(colors + rng.normal(0, _NOISE, colors.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def sbd_file(mask: np.ndarray) -> bytes:
    """Returns a segmentation as a MATLAB file of SBD.

    Args:
        mask: classes, uint8, shape ``(height, width)``.
    """
    present = np.setdiff1d(np.unique(mask), [0])[:, np.newaxis]
    buffer = io.BytesIO()
    content = {"GTcls": {"Boundaries": np.zeros((20, 1)), "Segmentation": mask, "CategoriesPresent": present}}
    scipy.io.savemat(buffer, content, do_compression=True)
    return buffer.getvalue()


def main(argv: list[str]) -> int:
    """Runs the program and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="fake_voc", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, which must not exist")
    parser.add_argument("--train", type=int, default=6, metavar="N", help="training images (default: 6)")
    parser.add_argument("--validation", type=int, default=4, metavar="N", help="validation images (default: 4)")
    parser.add_argument("--sbd", type=int, default=8, metavar="N", help="images that only SBD labels (default: 8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the images (default: 0)")
    options = parser.parse_args(argv)

    def write() -> None:
        write_fake_voc(
            options.out, train=options.train, validation=options.validation, sbd=options.sbd, seed=options.seed
        )

    return exit_code_of("fake_voc", write)


if __name__ == "__main__":
    run_program("fake_voc", main)
