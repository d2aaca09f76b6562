"""Images with masks: how they are examined, listed and converted, whatever their collection."""

import dataclasses
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_datasets.core.utils.shard_utils import ShardConfig

from data_prep.collection import Conversion, DamagedImageError
from data_prep.examination import Examined, examine, look_at_upright_picture, problem_of
from data_prep.local_workers import LocalWorkers
from data_prep.mask import MaskFormatError, read_mask, values_of
from data_prep.picture import orientation_of, upright_rgb
from data_prep.problems import Problem
from data_prep.source_files import SOURCE, SourceFile, inflated
from hamgan.segmentation.data.masks import IGNORED

_FILE_FIELDS = ("path", "container", "offset", "size", "content_size", "deflated", "sha256")
_MASK = "mask_"
"""Prefix of the fields of the mask."""
_MAX_NAMED_VALUES = 5


class SourcedFile(NamedTuple):
    """A file, and the source that holds it.

    Args:
        source: folder or archive.
        file: file within the source.
    """

    source: str
    file: SourceFile


@dataclasses.dataclass(frozen=True)
class MaskValues:
    """The values of masks.

    Args:
        class_names: name of each class, by label.
        ignored: values of pixels without a class.
    """

    class_names: tuple[str, ...]
    ignored: tuple[int, ...]

    @property
    def value_of_class(self) -> tuple[int, ...]:
        """Value of each class in the source: the smallest numbers from 0 on that are not ignored."""
        count = len(self.class_names)
        return tuple(value for value in range(count + len(self.ignored)) if value not in self.ignored)[:count]

    def unknown(self, values: Sequence[int]) -> list[int]:
        """Returns which of some values are neither a class nor ignored."""
        return sorted(set(values) - {*self.value_of_class, *self.ignored})

    def labels(self, mask: np.ndarray) -> np.ndarray:
        """Returns a mask as it is stored.

        Args:
            mask: known values, integers, shape ``(height, width)``.

        Returns:
            Labels from 0 on, or ``IGNORED``, uint8, shape ``(height, width)``.
        """
        label_of = dict.fromkeys(self.ignored, IGNORED) | {v: label for label, v in enumerate(self.value_of_class)}
        values = np.array(sorted(label_of))
        return np.array([label_of[value] for value in values], np.uint8)[np.searchsorted(values, mask)]


class ImageAndMask(NamedTuple):
    """What the form of images with masks stores.

    Args:
        image: image file, JPEG or PNG.
        mask: labels, uint8, shape ``(height, width)``.
    """

    image: bytes
    mask: np.ndarray


@dataclasses.dataclass(frozen=True)
class MaskedConversion(Conversion):
    """Reads images and their masks.

    Args:
        values: values of the masks.
    """

    values: MaskValues

    @property
    def settings(self) -> str:
        """A digest of the classes and the ignored values."""
        return hashlib.sha256(repr((self.values.class_names, self.values.ignored)).encode()).hexdigest()

    def image_name(self, image: np.void) -> str:
        """Returns the name of an image."""
        return image["name"].decode(errors="replace")

    def class_key(self, label: int) -> bytes:
        """Returns nothing: no two images of a split have the same name."""
        return b""

    def files(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the files of images and of masks."""
        return _files(images, ""), _files(images, _MASK)

    def labels(self, image: np.void) -> list[int]:
        """Returns the classes in the mask."""
        return np.flatnonzero(image["present"]).tolist()

    def convert(self, image: np.void, contents: Sequence[bytes]) -> tuple[ImageAndMask, str | None, str]:
        """Returns the image file and the labels of its mask."""
        image_data, mask_data = (
            _checked_content(image, prefix, data) for prefix, data in zip(("", _MASK), contents, strict=True)
        )
        try:
            mask = self.values.labels(read_mask(mask_data))
        except MaskFormatError as error:
            raise DamagedImageError(str(error)) from error
        return ImageAndMask(_storable(image_data), mask), None, ""

    def num_shards(self, images: np.ndarray) -> int:
        """Returns the number of record files that a TFDS builder would write."""
        return ShardConfig.calculate_number_shards(int(images["size"].sum() + images["mask_size"].sum()), len(images))


def _files(images: np.ndarray, prefix: str) -> np.ndarray:
    names = {"path": "name"}
    files = np.empty(len(images), [(names.get(field, field), images.dtype[prefix + field]) for field in _FILE_FIELDS])
    for field in _FILE_FIELDS:
        files[names.get(field, field)] = images[prefix + field]
    return files


def _checked_content(image: np.void, prefix: str, data: bytes) -> bytes:
    if image[f"{prefix}deflated"]:
        try:
            data = inflated(data, int(image[f"{prefix}content_size"]))
        except ValueError as error:
            raise DamagedImageError(str(error)) from error
    if hashlib.sha256(data).digest() != image[f"{prefix}sha256"].tobytes():
        raise DamagedImageError("the file changed during the preparation")
    return data


def _storable(data: bytes) -> bytes:
    """Returns an image file that TensorFlow decodes to upright RGB: the file itself if it is an ordinary JPEG."""
    image = upright_rgb(data, full_size=True)
    if data.startswith(b"\xff\xd8") and orientation_of(data) == 1:
        try:
            # TensorFlow refuses CMYK, and some damage that Pillow tolerates.
            if tf.io.decode_jpeg(data, channels=3).shape[:2] == (image.height, image.width):
                return data
        except tf.errors.InvalidArgumentError:
            pass
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def look_at_mask(file: SourceFile, content: bytes) -> Examined:
    """Examines a file that should be a mask."""
    try:
        mask = read_mask(content)
    except MaskFormatError as error:
        return problem_of("mask_format", str(error))
    except DamagedImageError as error:
        return problem_of("damaged", str(error))
    height, width = mask.shape
    return Examined(hashlib.sha256(content).digest(), height, width, None, "", values_of(mask))


def examine_pairs(
    pairs: Mapping[str, tuple[SourcedFile, SourcedFile]],
    values: MaskValues,
    sources: Sequence[str],
    workers: LocalWorkers,
) -> tuple[np.ndarray, list[Problem]]:
    """Reads all images and masks once, and returns those that can be used.

    Args:
        pairs: image and mask, by the name that the image is stored under.
        values: values of the masks.
        sources: sources of the files, whose indices are the "container" of the result.
        workers: processes to use.

    Returns:
        Usable images, the array of a listing, sorted by name; and a problem for each other one.

    Raises:
        UserError: many files cannot be read, or an archive is damaged.
    """
    names = sorted(pairs)
    images = _examined(
        [pairs[name][0] for name in names], sources, workers, look_at_upright_picture, "Examining images"
    )
    masks = _examined([pairs[name][1] for name in names], sources, workers, look_at_mask, "Examining masks")
    rows, problems = [], []
    for name, image, mask in zip(names, images, masks, strict=True):
        files = pairs[name]
        problem = _pair_problem(files, image, mask, values)
        if problem is not None:
            problems.append(problem)
            if problem.kind != "only_ignored":
                continue
        present = np.isin(values.value_of_class, mask.values)
        rows.append((os.fsencode(name), 0, present, *_row(files[0], image, sources), *_row(files[1], mask, sources)))
    paths = [[pair[index].file.name for pair in pairs.values()] for index in range(2)]
    dtype = _dtype(_longest(names), _longest(paths[0]), _longest(paths[1]), len(values.class_names))
    return np.array(rows, dtype), problems


def _longest(names: Sequence[str]) -> int:
    return max((len(os.fsencode(name)) for name in names), default=1)


def _examined(
    files: Sequence[SourcedFile],
    sources: Sequence[str],
    workers: LocalWorkers,
    look: Callable[[SourceFile, bytes], Examined],
    title: str,
) -> list[Examined]:
    results: dict[SourcedFile, Examined] = {}
    for source in sources:
        members = [each for each in files if each.source == source]
        if members:
            found = examine(source, [each.file for each in members], workers, look, title)
            results |= dict(zip(members, found, strict=True))
    return [results[each] for each in files]


def _pair_problem(
    files: tuple[SourcedFile, SourcedFile], image: Examined, mask: Examined, values: MaskValues
) -> Problem | None:
    image_name, mask_name = (each.file.name for each in files)
    for name, result in ((image_name, image), (mask_name, mask)):
        if result.problem is not None:
            return Problem(SOURCE, result.problem, name, result.detail)
    if (image.height, image.width) != (mask.height, mask.width):
        detail = f"{mask.width}x{mask.height} pixels, the image {image.width}x{image.height}"
        return Problem(SOURCE, "mask_size", mask_name, detail)
    unknown = values.unknown(mask.values)
    if unknown:
        listed = ", ".join(map(str, unknown[:_MAX_NAMED_VALUES])) + (
            ", ..." if len(unknown) > _MAX_NAMED_VALUES else ""
        )
        return Problem(SOURCE, "mask_values", mask_name, listed)
    if not set(mask.values) & set(values.value_of_class):
        return Problem(SOURCE, "only_ignored", mask_name)
    return None


def _row(sourced: SourcedFile, result: Examined, sources: Sequence[str]) -> tuple[object, ...]:
    file = sourced.file
    place = (os.fsencode(file.name), list(sources).index(sourced.source), file.offset, file.size)
    return (*place, file.content_size, file.deflated, np.frombuffer(result.sha256, np.uint8))


def _dtype(name_bytes: int, path_bytes: int, mask_path_bytes: int, num_classes: int) -> np.dtype:
    fields: list[tuple] = [
        ("name", f"S{name_bytes}"),
        ("label", np.int32),
        ("present", np.bool_, (num_classes,)),
    ]
    for prefix, width in (("", path_bytes), (_MASK, mask_path_bytes)):
        types = (f"S{width}", np.int32, np.int64, np.int64, np.int64, np.bool_, (np.uint8, (32,)))
        fields += [(prefix + field, kind) for field, kind in zip(_FILE_FIELDS, types, strict=True)]
    return np.dtype(fields)


def absent_classes(split: str, images: np.ndarray, class_names: Sequence[str]) -> list[Problem]:
    """Returns a problem for each class that is in no mask of a split.

    Args:
        split: name of the split.
        images: images of the split, an array of :func:`examine_pairs`.
        class_names: name of each class, by label.
    """
    kind = "no_validation" if split == "validation" else "absent_class"
    absent = np.flatnonzero(~images["present"].any(axis=0)).tolist()
    return [Problem(split, kind, class_names[label]) for label in absent]
