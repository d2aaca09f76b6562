"""A folder or archive of a user's own pictures as a collection."""

import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import storage
from data_prep.collection import Collection, Contents, Conversion, DamagedImageError
from data_prep.examination import Examined, examine
from data_prep.folder_layout import FLAT, LABELS, Layout, find_layout, table_layout, wrapping_folder
from data_prep.forms import Form
from data_prep.listing import Listing
from data_prep.local_workers import LocalWorkers
from data_prep.picture import CROPS, central_square, upright_rgb
from data_prep.picture_form import SquarePictures
from data_prep.picture_problems import same_content, small_pictures
from data_prep.picture_report import class_table, picture_grid
from data_prep.problems import Problem
from data_prep.source_files import SOURCE, SourceFile, find_files, inflated, read_files, sibling_folders_with_pictures
from data_prep.validation_split import DEFAULT_SHARE, choose_validation, parse_size
from hamgan.errors import UserError, reason_of

_logger = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OWN_NAMES = ("digits", "imagenet_hamgan", "scenes", "voc2012")
_PICTURES_PER_SHARD = 512
_MAX_SHARDS = 1024


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

    def convert(self, image: np.void, contents: Sequence[bytes]) -> tuple[Image.Image, str | None, str]:
        """Returns the picture in RGB, its central square or all of it."""
        (data,) = contents
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
        parse_size(self._validation_size)
        if self.crop not in CROPS:
            raise UserError(f"--crop is center or pad, found '{self.crop}'")

    @property
    def _validation_size(self) -> str:
        return DEFAULT_SHARE if self.validation_split is None else self.validation_split

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
        pictures = self._pictures(files, problems, workers)
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
            problems += _sibling_problems(root)
        images = _array({name: inner[name] for name in sorted(layout.class_of)}, layout)
        container = root if storage.is_folder(self.source) else self.source
        return self._divide(images, container, layout, problems + layout.problems)

    def _pictures(
        self, files: Sequence[SourceFile], problems: list[Problem], workers: LocalWorkers
    ) -> dict[str, tuple[SourceFile, Examined]]:
        """Returns the usable pictures by name; appends to ``problems`` for all other files."""
        pictures = {}
        for file, result in zip(files, examine(self.source, files, workers), strict=True):
            if result.problem is None:
                pictures[file.name] = (file, result)
            else:
                problems.append(Problem(SOURCE, result.problem, file.name, result.detail))
        if not pictures:
            found = f"{problems[0].where}, for example" if problems else "no files"
            raise UserError(
                f"no pictures in {self.source}: expected JPEG, PNG, WebP, BMP, GIF or TIFF files, found {found}"
            )
        return pictures

    def _find_layout(self, root: str, table: SourceFile | None, names: Sequence[str]) -> Layout:
        if table is None:
            return find_layout(root, names, default_class=self.name)
        (content,) = read_files(self.source, [table])
        if isinstance(content, OSError):
            raise UserError(f"cannot read {root}/{LABELS}: {reason_of(content)}")
        return table_layout(root, content, names)

    def _divide(self, images: np.ndarray, container: str, layout: Layout, problems: list[Problem]) -> Contents:
        """Returns the pictures that are large enough, divided into splits."""
        names, min_size = layout.class_names, self.min_size or 0
        is_small = np.minimum(images["height"], images["width"]) < min_size
        problems = problems + small_pictures("too_small", SOURCE, images, is_small, names, min_size)
        images = images[~is_small]
        digests = [image.tobytes() for image in images["sha256"]]
        in_validation = self._in_validation(images, digests, layout)
        for label in np.flatnonzero(np.bincount(images["label"][~in_validation], minlength=len(names)) == 0):
            raise UserError(
                f"--min_size {min_size} leaves no training picture of '{names[label]}'; pass a smaller --min_size, or "
                "move that class away"
            )
        if layout.split_of is None and any(parse_size(self._validation_size)):
            held_out = np.bincount(images["label"][in_validation], minlength=len(names))
            problems += [
                Problem("validation", "no_validation", names[label]) for label in np.flatnonzero(held_out == 0)
            ]
        problems += same_content(images, digests, in_validation, names)
        parts = {"train": images[~in_validation], "validation": images[in_validation]}
        listings = {split: Listing(part, (container,), []) for split, part in parts.items() if len(part)}
        sources = dict.fromkeys(listings, self.source)
        return Contents(names, listings, sources, problems, PictureConversion(self.crop, names))

    def _in_validation(self, images: np.ndarray, digests: Sequence[bytes], layout: Layout) -> np.ndarray:
        if layout.split_of is None:
            return choose_validation(images["label"], digests, self._validation_size, self.seed)
        if self.validation_split is not None:
            raise UserError(
                f"--validation_split: {self.source} has splits already ({layout.description}); omit this option"
            )
        splits = [layout.split_of[os.fsdecode(name)] for name in images["name"].tolist()]
        return np.array(splits) == "validation"

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
            problems += small_pictures(
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


def _sibling_problems(root: str) -> list[Problem]:
    """Returns a problem for each folder of pictures beside the source, which may be one class of several."""
    siblings = sibling_folders_with_pictures(root)
    if siblings:
        _logger.warning(
            "%s is prepared as one class, but the folders beside it hold pictures too (%s); did you mean --source %s?",
            *(root, ", ".join(map(os.path.basename, siblings[:3])), os.path.dirname(siblings[0])),
        )
    return [Problem(SOURCE, "sibling_folders", sibling) for sibling in siblings]


def _array(pictures: Mapping[str, tuple[SourceFile, Examined]], layout: Layout) -> np.ndarray:
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
