"""A user's own images and masks, in a folder or archive, as a collection."""

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_prep.collection import Collection, Contents
from data_prep.folder_layout import checked_class_name, split_of_folder
from data_prep.image_folder import check_dataset_name
from data_prep.listing import Listing
from data_prep.local_workers import LocalWorkers
from data_prep.masked_images import MaskedConversion, MaskValues, SourcedFile, absent_classes, examine_pairs
from data_prep.masked_report import masked_sections
from data_prep.picture_problems import same_content
from data_prep.problems import Problem
from data_prep.source_files import PICTURE_SUFFIXES, SOURCE, SourceFile, find_files, read_files
from data_prep.validation_split import DEFAULT_SHARE, choose_validation, parse_size
from hamgan.counted import counted
from hamgan.errors import UserError, reason_of
from hamgan.segmentation.data.masks import IGNORED, MAX_CLASSES

CLASSES = "classes.txt"
"""File with the name of one class on each line."""
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
MASK_FOLDERS = ("masks", "mask", "labels", "annotations", "segmentationclass", "segmentationclassaug")
_LARGEST_VALUE = 65_535


class _Role(NamedTuple):
    """What a path says of its file: whether it is a mask, and the path without that folder and without suffix."""

    is_mask: bool
    key: str


@dataclasses.dataclass(frozen=True)
class MaskFolder(Collection):
    """Images and masks with the same names in two folders.

    Args:
        source: folder, zip or tar, local or ``gs://``.
        name: name of the data set.
        ignored: values of pixels without a class.
        validation_split: size of the validation split, such as "10%" or "500"; None for the default, or for the splits
            that the source has.
        seed: seed of the validation split.
    """

    source: str
    name: str
    ignored: tuple[int, ...] = (IGNORED,)
    validation_split: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Validates the options."""
        check_dataset_name(self.name)
        parse_size(self._validation_size)
        for value in self.ignored:
            if not 0 <= value <= _LARGEST_VALUE:
                raise UserError(f"--ignore: expected values from 0 to {_LARGEST_VALUE}, found {value}")

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
        return "--ignore, --validation_split or --seed"

    def find(self, workers: LocalWorkers) -> Contents:
        """Finds and examines all images and masks, and divides them into splits."""
        files, problems = find_files(self.source)
        values = MaskValues(self._class_names(files), self.ignored)
        images, masks = self._by_key(files, problems)
        problems += [Problem(SOURCE, "without_mask", images[key].name) for key in images if key not in masks]
        problems += [Problem(SOURCE, "without_image", masks[key].name) for key in masks if key not in images]
        pairs = {
            images[key].name: (SourcedFile(self.source, images[key]), SourcedFile(self.source, masks[key]))
            for key in images
            if key in masks
        }
        if not pairs:
            raise UserError(
                f"no images with masks in {self.source}: expected images/NAME.jpg and masks/NAME.png with equal names; "
                f"found {counted(len(images), 'image')} and {counted(len(masks), 'mask')}"
            )
        split_of_image = _splits({images[key].name: key for key in images if key in masks}, problems)
        if split_of_image is not None:
            pairs = {name: pair for name, pair in pairs.items() if name in split_of_image}
        array, pair_problems = examine_pairs(pairs, values, [self.source], workers)
        problems += pair_problems
        if not len(array):
            first = pair_problems[0]
            raise UserError(
                f"expected images with masks that can be used in {self.source}, found "
                f"{counted(len(pairs), 'pair')} that cannot, such as {first.where} "
                f"({first.kind}{f': {first.detail}' if first.detail else ''})"
            )
        return self._divide(array, split_of_image, values, problems)

    def _class_names(self, files: Sequence[SourceFile]) -> tuple[str, ...]:
        tables = [file for file in files if os.path.basename(file.name) == CLASSES]
        if len(tables) != 1:
            found = ", ".join(file.name for file in tables[:3]) or "none"
            raise UserError(f"{self.source}: expected one file {CLASSES} with a class name on each line, found {found}")
        (content,) = read_files(self.source, tables)
        if isinstance(content, OSError):
            raise UserError(f"cannot read {tables[0].name} in {self.source}: {reason_of(content)}")
        where = f"{self.source}/{tables[0].name}"
        try:
            lines = content.decode("utf-8-sig").rstrip().splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"{where}: expected text in UTF-8, found other bytes; save it as UTF-8") from error
        if not 0 < len(lines) <= MAX_CLASSES:
            raise UserError(f"{where}: expected the names of 1 to {MAX_CLASSES} classes, found {len(lines):,}")
        names = [checked_class_name(line, f"{where}, line {index}") for index, line in enumerate(lines, 1)]
        for name, count in collections.Counter(names).items():
            if count > 1:
                raise UserError(f"{where}: expected different names, found '{name}' {count} times; rename one of them")
        return tuple(names)

    def _by_key(
        self, files: Sequence[SourceFile], problems: list[Problem]
    ) -> tuple[dict[str, SourceFile], dict[str, SourceFile]]:
        """Returns images and masks by what their paths have in common; appends to ``problems`` for other files."""
        by_key: tuple[dict[str, SourceFile], dict[str, SourceFile]] = ({}, {})
        for file in files:
            role = _role(file.name)
            if os.path.basename(file.name) == CLASSES:
                continue
            if role is None:
                problems.append(Problem(SOURCE, "outside_folders", file.name))
            elif not file.name.lower().endswith(PICTURE_SUFFIXES):
                problems.append(Problem(SOURCE, "not_a_picture", file.name))
            elif role.key in by_key[role.is_mask]:
                kept = by_key[role.is_mask][role.key].name
                problems.append(Problem(SOURCE, "duplicate_name", file.name, f"{kept} is used"))
            else:
                by_key[role.is_mask][role.key] = file
        return by_key

    def _divide(
        self, images: np.ndarray, split_of: Mapping[str, str] | None, values: MaskValues, problems: list[Problem]
    ) -> Contents:
        digests = [digest.tobytes() for digest in images["sha256"]]
        if split_of is None:
            one_class = np.zeros(len(images), np.int64)
            in_validation = choose_validation(one_class, digests, self._validation_size, self.seed)
        else:
            in_validation = np.array([split_of[os.fsdecode(name)] == "validation" for name in images["name"].tolist()])
            if self.validation_split is not None:
                raise UserError(f"--validation_split: {self.source} has splits already; omit this option")
            if in_validation.all():
                raise UserError(f"no image of the training split in {self.source} can be used")
        problems = problems + same_content(images, digests, in_validation, values.class_names)
        parts = {"train": images[~in_validation], "validation": images[in_validation]}
        listings = {split: Listing(part, (self.source,), []) for split, part in parts.items() if len(part)}
        for split, listing in listings.items():
            problems += absent_classes(split, listing.images, values.class_names)
        sources = dict.fromkeys(listings, self.source)
        return Contents(values.class_names, listings, sources, problems, MaskedConversion(values))

    def report_settings(self) -> dict[str, Any]:
        """Returns the options."""
        return {
            "subset": None,
            "ignored": list(self.ignored),
            "validation_split": self.validation_split,
            "seed": self.seed,
        }

    def remarks(self) -> list[str]:
        """Returns which values are ignored."""
        return [f"ignored values: {', '.join(map(str, self.ignored))}" if self.ignored else "no ignored values"]

    def images_per_class(self, images: np.ndarray, num_classes: int) -> np.ndarray:
        """Returns the number of images that show each class."""
        return images["present"].sum(axis=0)

    def report_sections(
        self, contents: Contents, records: Mapping[str, list[str]], per_class: Mapping[str, np.ndarray]
    ) -> dict[str, str]:
        """Returns the classes, and the first images of each split with their masks."""
        return masked_sections(MaskValues(contents.class_names, self.ignored), records, per_class)


def _role(name: str) -> _Role | None:
    *folders, base = name.split("/")
    for index, folder in enumerate(folders):
        is_mask = folder.casefold() in MASK_FOLDERS
        if is_mask or folder.casefold() in IMAGE_FOLDERS:
            rest = [*folders[:index], *folders[index + 1 :], os.path.splitext(base)[0]]
            return _Role(is_mask, "/".join(rest))
    return None


def _splits(keys: Mapping[str, str], problems: list[Problem]) -> dict[str, str] | None:
    """Returns the split of each image, or None if the folders do not name both splits.

    Args:
        keys: path of each image without the folder of images, by its name.
        problems: list to append to.
    """
    named = {name: split_of_folder(key.split("/")[:-1]) for name, key in keys.items()}
    held_out = [each for each in set(named.values()) if each not in (None, ("train", 0))]
    if not held_out or ("train", 0) not in named.values():
        return None
    validation = min(held_out, key=lambda split: split[1])
    splits = {}
    for name, found in named.items():
        if found in (("train", 0), validation):
            splits[name] = found[0]
        elif found is None:
            problems.append(Problem(SOURCE, "not_in_a_split", name))
        else:
            problems.append(Problem(SOURCE, "unused_split", name))
    return splits
