"""A folder or archive of a user's own pictures as a collection."""

import collections
import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import storage
from data_prep.collection import Collection, Contents, Conversion, DamagedImageError
from data_prep.folder_layout import FLAT, LABELS, Layout, find_layout, table_layout, wrapping_folder
from data_prep.forms import Form
from data_prep.listing import Listing, is_system_file
from data_prep.local_workers import LocalWorkers, advance
from data_prep.picture import CROPS, central_square, is_picture, size_of, unsupported_format, upright_rgb
from data_prep.picture_form import SquarePictures
from data_prep.picture_report import class_table, picture_grid
from data_prep.problems import Problem
from data_prep.reading import MAX_IMAGE_BYTES
from data_prep.source_files import SOURCE, SourceFile, find_files, inflated, read_files
from data_prep.validation_split import DEFAULT_SHARE, choose_validation, parse_size
from hamgan.errors import UserError, reason_of

_logger = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OWN_NAMES = ("digits", "imagenet_hamgan")
_FILES_PER_TASK = 32
_PICTURES_PER_SHARD = 512
_MAX_SHARDS = 1024
_MAX_UNREADABLE = 10
"""Maximum number of unreadable files (or 1% of all, if that is more). With more, the disk or the archive has failed."""
_MAX_SIBLINGS = 50
_MAX_SIBLING_ENTRIES = 100
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def check_dataset_name(name: str) -> None:
    """Checks the name of a new data set.

    Args:
        name: name for ``tfds.load``.

    Raises:
        UserError: the name is not a valid name for TFDS, or belongs to another data set.
    """
    if not _NAME.fullmatch(name):
        suggestion = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        hint = f", such as '{suggestion}'" if _NAME.fullmatch(suggestion) else ", such as 'flowers'"
        raise UserError(f"--name: expected small letters, digits and _, a letter first{hint}; found '{name}'")
    if name in _OWN_NAMES or name in tfds.list_builders(with_community_datasets=False):
        raise UserError(f"--name: '{name}' is a data set of TFDS or HamGAN; choose another name, such as 'my_{name}'")


def check_outside(data_dir: str, source: str) -> None:
    """Checks that the records are not written into the folder that the pictures are read from.

    Args:
        data_dir: folder of TFDS data sets.
        source: folder or archive of the pictures.

    Raises:
        UserError: ``data_dir`` is the source, or is inside of it.
    """
    inner, outer = (f"{storage.canonical(os.path.expanduser(path))}/" for path in (data_dir, source))
    if inner.startswith(outer):
        raise UserError(f"--data_dir {data_dir} is inside of --source {source}; choose a folder outside of it")


class _Examined(NamedTuple):
    """What a file holds: the digest and size of a picture, or the problem that it has."""

    sha256: bytes
    height: int
    width: int
    kind: str | None
    detail: str


@dataclasses.dataclass(frozen=True)
class PictureConversion(Conversion):
    """Reads pictures as upright RGB.

    Args:
        crop: one of ``data_prep.picture.CROPS``.
        class_names: name of each class, by label.
    """

    crop: str
    class_names: tuple[str, ...]

    @property
    def settings(self) -> str:
        """The crop, and a digest of the names of the classes."""
        names = "\n".join(self.class_names).encode()
        return f"{self.crop} {hashlib.sha256(names).hexdigest()}"

    def image_name(self, image: np.void) -> str:
        """Returns the path of a picture in its source."""
        return image["name"].decode(errors="replace")

    def class_key(self, label: int) -> bytes:
        """Returns the name of a class. No two pictures have the same path, so it is never needed."""
        return self.class_names[label].encode()

    def convert(self, image: np.void, data: bytes) -> tuple[Image.Image, str | None, str]:
        """Returns the picture in RGB, its central square or all of it."""
        if image["deflated"]:
            try:
                data = inflated(data, int(image["content_size"]))
            except ValueError as error:
                raise DamagedImageError(str(error)) from error
        if hashlib.sha256(data).digest() != image["sha256"].tobytes():
            raise DamagedImageError("the file changed during the preparation")
        picture = upright_rgb(data)
        return central_square(picture) if self.crop == "center" else picture, None, ""

    def num_shards(self, images: np.ndarray) -> int:
        """Returns a number of record files that keeps many workers busy."""
        return min(_MAX_SHARDS, -(-len(images) // _PICTURES_PER_SHARD))


@dataclasses.dataclass(frozen=True)
class ImageFolder(Collection):
    """Pictures of a user in a folder, a zip or a tar.

    Args:
        source: folder or archive, local or ``gs://``.
        name: name of the data set.
        validation_split: size of the validation split, such as "10%" or "500"; None for the default, or for the splits
            that the source has.
        crop: one of ``data_prep.picture.CROPS``.
        min_size: shorter side of the smallest pictures to use, in pixels; None for all.
        seed: seed of the validation split.
    """

    source: str
    name: str
    validation_split: str | None = None
    crop: str = "center"
    min_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Validates the options."""
        check_dataset_name(self.name)
        parse_size(self.validation_split or DEFAULT_SHARE)
        if self.crop not in CROPS:
            raise UserError(f"--crop is center or pad, found '{self.crop}'")

    @property
    def title(self) -> str:
        """Name of the data set."""
        return self.name

    @property
    def options(self) -> str:
        """Options that decide on the content of the records, for messages."""
        return "--validation_split, --seed, --crop or --min_size"

    def find(self, workers: LocalWorkers) -> Contents:
        """Finds, examines and labels all pictures, and divides them into splits."""
        files, problems = find_files(self.source)
        examined = self._examine(files, workers)
        pictures = {}
        for file, result in zip(files, examined, strict=True):
            if result.kind is None:
                pictures[file.name] = (file, result)
            else:
                problems.append(Problem(SOURCE, result.kind, file.name, result.detail))
        if not pictures:
            found = f"{problems[0].where}, for example" if problems else "no files"
            raise UserError(
                f"no pictures in {self.source}: expected JPEG, PNG, WebP, BMP, GIF or TIFF files, found {found}"
            )
        tables = {file.name: file for file in files if os.path.basename(file.name) == LABELS}
        prefix = wrapping_folder(list(pictures), tables)
        root = storage.join(self.source, *filter(None, prefix.split("/")))
        if prefix:
            _logger.warning("All pictures of %s are in %s: read from there", self.source, root)
            problems.append(Problem(SOURCE, "wrapping_folder", prefix.rstrip("/")))
        problems += [Problem(SOURCE, "unlabeled", name) for name in pictures if not name.startswith(prefix)]
        problems = [problem for problem in problems if problem.where != prefix + LABELS]
        inner = {name.removeprefix(prefix): picture for name, picture in pictures.items() if name.startswith(prefix)}
        layout = self._find_layout(root, tables.get(prefix + LABELS), list(inner))
        if layout.description == FLAT:
            problems += self._siblings(root)
        problems += layout.problems
        images = self._array({name: inner[name] for name in sorted(layout.class_of)}, layout)
        is_folder = storage.is_folder(self.source)
        return self._split(images, root if is_folder else self.source, layout, problems)

    def _examine(self, files: Sequence[SourceFile], workers: LocalWorkers) -> list[_Examined]:
        tasks = [
            (self.source, files[start : start + _FILES_PER_TASK]) for start in range(0, len(files), _FILES_PER_TASK)
        ]
        results = workers.run(_examine_files, tasks, title="Examining", unit="file", total=len(files))
        examined = [result for part in results for result in part]
        unreadable = [index for index, result in enumerate(examined) if result.kind == "unreadable"]
        if len(unreadable) > max(_MAX_UNREADABLE, len(files) // 100):
            first = unreadable[0]
            raise UserError(
                f"{len(unreadable):,} files in {self.source} cannot be read, such as {files[first].name}: "
                f"{examined[first].detail}; make them readable and run the same command again"
            )
        return examined

    def _find_layout(self, root: str, table: SourceFile | None, names: Sequence[str]) -> Layout:
        if table is None:
            return find_layout(root, names, default_class=self.name)
        (content,) = read_files(self.source, [table])
        if isinstance(content, OSError):
            raise UserError(f"cannot read {root}/{LABELS}: {reason_of(content)}")
        return table_layout(root, content, names)

    def _siblings(self, root: str) -> list[Problem]:
        """Returns a problem if folders beside the source hold pictures too, so that the source may be one class."""
        if not storage.is_folder(root):
            return []
        parent, _, name = storage.canonical(root).rpartition("/")
        if parent.endswith("/"):  # the root of a bucket
            return []
        siblings = [
            sibling
            for sibling, is_folder in storage.children(parent or "/")[:_MAX_SIBLING_ENTRIES]
            if is_folder and sibling != name and not is_system_file(sibling)
        ]
        with_pictures = [each for each in siblings[:_MAX_SIBLINGS] if _holds_pictures(storage.join(parent, each))]
        if not with_pictures:
            return []
        _logger.warning(
            "%s is prepared as one class, but the folders beside it hold pictures too (%s); did you mean --source %s?",
            *(root, ", ".join(with_pictures[:3]), parent),
        )
        return [Problem(SOURCE, "sibling_folders", storage.join(parent, each)) for each in with_pictures]

    def _array(self, pictures: Mapping[str, tuple[SourceFile, _Examined]], layout: Layout) -> np.ndarray:
        """Returns the pictures as the array of a listing; the width of the names is that of the longest one."""
        label_of = {name: label for label, name in enumerate(layout.class_names)}
        width = max(len(os.fsencode(name)) for name in pictures)
        rows = [
            (
                *(os.fsencode(name), label_of[layout.class_of[name]], 0, file.offset, file.size, file.content_size),
                *(file.deflated, np.frombuffer(result.sha256, np.uint8), result.height, result.width),
            )
            for name, (file, result) in pictures.items()
        ]
        return np.array(rows, _picture_dtype(width))

    def _split(self, images: np.ndarray, container: str, layout: Layout, problems: list[Problem]) -> Contents:
        names = layout.class_names
        shorter = np.minimum(images["height"], images["width"])
        min_size = self.min_size or 0
        keep = shorter >= min_size
        problems += _counts_by_class("too_small", SOURCE, images, ~keep, names, min_size)
        images = images[keep]
        missing = np.flatnonzero(np.bincount(images["label"], minlength=len(names)) == 0)
        if len(missing):
            raise UserError(
                f"--min_size {self.min_size} leaves no picture of {names[missing[0]]}; pass a smaller --min_size, or "
                "move that class away"
            )
        digests = [image.tobytes() for image in images["sha256"]]
        if layout.split_of is None:
            size = DEFAULT_SHARE if self.validation_split is None else self.validation_split
            in_validation = choose_validation(images["label"], digests, size, self.seed)
            if parse_size(size) != (0, None) and parse_size(size)[1] != 0:
                without = np.bincount(images["label"][in_validation], minlength=len(names)) == 0
                problems += [Problem("validation", "no_validation", names[label]) for label in np.flatnonzero(without)]
        elif self.validation_split is not None:
            raise UserError(
                f"--validation_split: {self.source} has splits already ({layout.description}); omit this option"
            )
        else:
            splits = [layout.split_of[os.fsdecode(name)] for name in images["name"].tolist()]
            in_validation = np.array([split == "validation" for split in splits])
        problems += _duplicates(images, digests, in_validation, names)
        conversion = PictureConversion(self.crop, names)
        parts = {"train": images[~in_validation], "validation": images[in_validation]}
        listings = {split: Listing(part, (container,), []) for split, part in parts.items() if len(part)}
        if "train" not in listings:
            raise UserError(f"no training pictures in {self.source} are left; pass a smaller --min_size")
        return Contents(names, listings, dict.fromkeys(listings, self.source), problems, conversion)

    def report_settings(self) -> dict[str, Any]:
        """Returns the options."""
        return {
            "subset": None,
            "crop": self.crop,
            "min_size": self.min_size,
            "validation_split": self.validation_split,
            "seed": self.seed,
        }

    def remarks(self) -> list[str]:
        """Returns how pictures become square, and which of them are used."""
        crop = {"center": "central squares", "pad": "whole pictures on black"}[self.crop]
        return [crop, *([f"shorter side at least {self.min_size} pixels"] if self.min_size else [])]

    def form_problems(self, form: Form, contents: Contents) -> list[Problem]:
        """Returns which classes have pictures that are enlarged."""
        assert isinstance(form, SquarePictures)
        problems = []
        for split, listing in contents.splits.items():
            sides = listing.images["height"], listing.images["width"]
            side = np.minimum(*sides) if self.crop == "center" else np.maximum(*sides)
            enlarged = side < form.resolution
            problems += _counts_by_class(
                "enlarged", split, listing.images, enlarged, contents.class_names, form.resolution
            )
        return problems

    def report_sections(
        self, contents: Contents, records: Mapping[str, list[str]], per_class: Mapping[str, np.ndarray]
    ) -> dict[str, str]:
        """Returns the number of pictures in each class, and some of them as they were written."""
        return {
            "Classes": class_table(contents.class_names, per_class),
            "Pictures": picture_grid(contents.class_names, records["train"], per_class["train"]),
        }


def _picture_dtype(name_bytes: int) -> np.dtype:
    return np.dtype(
        [
            ("name", f"S{name_bytes}"),
            ("label", np.int32),
            ("container", np.int32),
            ("offset", np.int64),
            ("size", np.int64),
            ("content_size", np.int64),
            ("deflated", np.bool_),
            ("sha256", np.uint8, (32,)),
            ("height", np.int32),
            ("width", np.int32),
        ]
    )


def _examine_files(source: str, files: Sequence[SourceFile]) -> list[_Examined]:
    """Examines several files in a worker."""
    results = []
    for file, content in zip(files, read_files(source, files), strict=True):
        results.append(_examine(file, content))
        advance(1)
    return results


def _examine(file: SourceFile, content: bytes | OSError) -> _Examined:
    def problem(kind: str, detail: str = "") -> _Examined:
        return _Examined(b"", 0, 0, kind, detail)

    if max(file.size, file.content_size) > MAX_IMAGE_BYTES:
        return problem("too_large", f"{file.content_size:,} bytes, more than {MAX_IMAGE_BYTES:,}")
    if isinstance(content, OSError):
        return problem("unreadable", content.strerror or str(content))
    if not is_picture(content):
        unsupported = unsupported_format(content)
        if unsupported:
            return problem("unsupported", f"{unsupported}; convert it to JPEG or PNG")
        is_damaged = file.name.lower().endswith(_PICTURE_SUFFIXES)
        detail = "the file is empty" if not content else "the content is not that of a picture"
        return problem("damaged", detail) if is_damaged else problem("not_a_picture")
    try:
        height, width = size_of(content)
    except DamagedImageError as error:
        return problem("damaged", str(error))
    return _Examined(hashlib.sha256(content).digest(), height, width, None, "")


def _holds_pictures(folder: str) -> bool:
    try:
        entries = storage.children(folder)[:_MAX_SIBLING_ENTRIES]
    except (OSError, tf.errors.OpError):
        return False
    return any(not is_folder and name.lower().endswith(_PICTURE_SUFFIXES) for name, is_folder in entries)


def _counts_by_class(
    kind: str, split: str, images: np.ndarray, affected: np.ndarray, class_names: Sequence[str], limit: int
) -> list[Problem]:
    """Returns one problem for each class with affected pictures."""
    problems = []
    totals = np.bincount(images["label"], minlength=len(class_names))
    counts = np.bincount(images["label"][affected], minlength=len(class_names))
    for label in np.flatnonzero(counts).tolist():
        those = images[affected & (images["label"] == label)]
        smallest = those[np.argmin(np.minimum(those["height"], those["width"]))]
        size = f"{smallest['width']}x{smallest['height']}"
        detail = f"{counts[label]:,} of {totals[label]:,} pictures below {limit} pixels, the smallest {size}"
        problems.append(Problem(split, kind, class_names[label], detail))
    return problems


def _duplicates(
    images: np.ndarray, digests: Iterable[bytes], in_validation: np.ndarray, class_names: Sequence[str]
) -> list[Problem]:
    """Returns one problem for each group of pictures with the same content."""
    groups: dict[bytes, list[int]] = collections.defaultdict(list)
    for index, digest in enumerate(digests):
        groups[digest].append(index)
    problems = []
    for members in groups.values():
        if len(members) > 1:
            first, *others = (os.fsdecode(images["name"][index]) for index in members)
            labels = sorted(set(images["label"][members].tolist()))
            if len(set(in_validation[members].tolist())) > 1:
                kind = "same_content_other_split"
            else:
                kind = "same_content" if len(labels) == 1 else "same_content_other_class"
            classes = "" if len(labels) == 1 else f", in {', '.join(class_names[label] for label in labels)}"
            detail = f"same as {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}{classes}"
            problems.append(Problem(SOURCE, kind, first, detail))
    return problems
