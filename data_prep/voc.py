"""PASCAL VOC 2012 for segmentation, with the labels of SBD, as a collection."""

import dataclasses
import logging
import os
from collections.abc import Collection as AnyCollection
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.collection import Collection, Contents
from data_prep.listing import Listing
from data_prep.local_workers import LocalWorkers
from data_prep.masked_images import MaskedConversion, MaskValues, SourcedFile, absent_classes, examine_pairs
from data_prep.masked_report import masked_sections
from data_prep.problems import Problem
from data_prep.source_files import SOURCE, SourceFile, find_files, read_files
from hamgan.errors import UserError, reason_of
from hamgan.segmentation.data.masks import IGNORED

_logger = logging.getLogger(__name__)

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOC_IMAGES = {"train": 1464, "validation": 1449, "trainval": 2913, "trainaug": 10_582}
"""Number of images of each split of PASCAL VOC 2012; "trainaug" is the training split with the images of SBD."""

_VALUES = MaskValues(VOC_CLASSES, (IGNORED,))
_LISTS = "ImageSets/Segmentation"
_IMAGES, _MASKS = "JPEGImages", "SegmentationClass"
_SBD_MASKS = {"cls": ".mat", "SegmentationClassAug": ".png"}
"""Folders of the labels of SBD: as published, or converted by one of the usual scripts."""
_SBD_IMAGES = "img"

Files = dict[str, SourcedFile]
"""Files by the name of the image that they belong to."""


@dataclasses.dataclass(frozen=True)
class Voc(Collection):
    """PASCAL VOC 2012: splits "train", "validation" and "trainval" by the lists of the devkit, and "trainaug".

    "trainaug" holds the images of "train" and those of SBD, without the validation images. Labels of VOC, which mark
    borders to ignore, take precedence over those of SBD.

    Args:
        source: devkit, as a folder or as ``VOCtrainval_11-May-2012.tar``, local or ``gs://``. It may hold the labels of
            SBD in a folder ``SegmentationClassAug``.
        sbd: folder or archive of SBD, or None without it.
        partial: whether to accept lists and labels with other numbers of images than PASCAL VOC 2012, such as a part.
    """

    source: str
    sbd: str | None = None
    partial: bool = False

    @property
    def title(self) -> str:
        """Name of the collection for messages."""
        return "PASCAL VOC 2012"

    @property
    def options(self) -> str:
        """Options that decide on the content of the records, for messages."""
        return "--sbd"

    def find(self, workers: LocalWorkers) -> Contents:
        """Finds and examines the images of all splits."""
        files, problems = find_files(self.source)
        devkit = _devkit([file.name for file in files])
        if devkit is None:
            raise UserError(
                f"no {_LISTS}/val.txt in {self.source}: expected the devkit of PASCAL VOC 2012, as a folder or as "
                "VOCtrainval_11-May-2012.tar"
            )
        by_name = {file.name.removeprefix(devkit): file for file in files if file.name.startswith(devkit)}
        images = _by_image(self.source, by_name.values(), devkit, {_IMAGES: ".jpg"})
        masks = _by_image(self.source, by_name.values(), devkit, {_MASKS: ".png"})
        sbd_masks = _by_image(self.source, by_name.values(), devkit, _SBD_MASKS)
        sources = [self.source]
        if self.sbd is not None:
            sbd_files, sbd_problems = find_files(self.sbd)
            problems += sbd_problems
            found = _by_image(self.sbd, sbd_files, "", _SBD_MASKS)
            if not found:
                raise UserError(
                    f"no labels of SBD in {self.sbd}: expected dataset/cls/*.mat, as in the unpacked benchmark.tgz, or "
                    "SegmentationClassAug/*.png"
                )
            sbd_masks |= found
            images = _by_image(self.sbd, sbd_files, "", {_SBD_IMAGES: ".jpg"}) | images
            sources.append(self.sbd)
        names = self._names(by_name, list(sbd_masks), problems)
        masks = sbd_masks | masks
        self._check_totals(names, problems)
        wanted = sorted(set().union(*names.values()))
        problems += [Problem(SOURCE, "listed_without_file", name) for name in wanted if name not in images]
        problems += [Problem(SOURCE, "without_mask", name) for name in wanted if name in images and name not in masks]
        pairs = {f"{name}.jpg": (images[name], masks[name]) for name in wanted if name in images and name in masks}
        array, pair_problems = examine_pairs(pairs, _VALUES, sources, workers)
        problems += pair_problems
        splits = {}
        for split, members in names.items():
            is_member = np.isin(array["name"], [os.fsencode(f"{name}.jpg") for name in members])
            if not is_member.any():
                raise UserError(
                    f"no usable {split} images in {self.source}: expected those of {_LISTS} in {_IMAGES}, with masks "
                    f"in {_MASKS}; found {_description(problems)}"
                )
            splits[split] = Listing(array[is_member], tuple(sources), [])
            problems += absent_classes(split, splits[split].images, VOC_CLASSES)
        origin = dict.fromkeys(splits, self.source)
        return Contents(VOC_CLASSES, splits, origin, problems, MaskedConversion(_VALUES))

    def _names(
        self, files: Mapping[str, SourceFile], sbd: Sequence[str], problems: list[Problem]
    ) -> dict[str, list[str]]:
        """Returns the names of the images of each split."""
        validation = self._list(files, "val", problems)
        train = self._list(files, "train", problems)
        in_both = set(train) & set(validation)
        problems += [Problem("train", "validation_in_train", name) for name in sorted(in_both)]
        names = {"train": [name for name in train if name not in in_both], "validation": validation}
        names["trainval"] = (
            self._list(files, "trainval", problems)
            if f"{_LISTS}/trainval.txt" in files
            else [*names["train"], *validation]
        )
        if sbd:
            names["trainaug"] = sorted({*train, *sbd} - set(validation))
        else:
            _logger.info("Without the labels of SBD (--sbd), there is no split trainaug")
        return names

    def _list(self, files: Mapping[str, SourceFile], name: str, problems: list[Problem]) -> list[str]:
        path = f"{_LISTS}/{name}.txt"
        if path not in files:
            raise UserError(f"no {path} in {self.source}; unpack the devkit again")
        (content,) = read_files(self.source, [files[path]])
        if isinstance(content, OSError):
            raise UserError(f"cannot read {path} in {self.source}: {reason_of(content)}")
        try:
            lines = content.decode().split("\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} in {self.source}: expected names of images, found other bytes ({error})"
            ) from error
        names = [line.strip() for line in lines if line.strip()]
        unique = dict.fromkeys(names)
        repeated = {each for each in unique if names.count(each) > 1} if len(unique) < len(names) else set()
        problems += [Problem(SOURCE, "repeated_name", each, path) for each in sorted(repeated)]
        return list(unique)

    def _check_totals(self, names: Mapping[str, AnyCollection[str]], problems: list[Problem]) -> None:
        for split, members in names.items():
            if len(members) == VOC_IMAGES[split]:
                continue
            detail = f"expected {VOC_IMAGES[split]:,} images, found {len(members):,}"
            if not self.partial:
                raise UserError(
                    f"split {split} of PASCAL VOC 2012: {detail} in {self.source}"
                    f"{f' and {self.sbd}' if split == 'trainaug' and self.sbd else ''}; copy them again, or pass "
                    "--partial to prepare what is there"
                )
            problems.append(Problem(split, "voc_total", split, detail))

    def report_settings(self) -> dict[str, Any]:
        """Returns the sources and the value to ignore."""
        return {"subset": None, "sbd": self.sbd, "partial": self.partial, "ignored": list(_VALUES.ignored)}

    def remarks(self) -> list[str]:
        """Returns where the labels of SBD are from, and whether a part of the images was accepted."""
        return [*([f"labels of SBD from {self.sbd}"] if self.sbd else []), *(["--partial"] if self.partial else [])]

    def images_per_class(self, images: np.ndarray, num_classes: int) -> np.ndarray:
        """Returns the number of images that show each class."""
        return images["present"].sum(axis=0)

    def expected_images(self, split: str) -> str:
        """Returns the number of images of PASCAL VOC 2012."""
        return f"{VOC_IMAGES[split]:,}"

    def report_sections(
        self, contents: Contents, records: Mapping[str, list[str]], per_class: Mapping[str, np.ndarray]
    ) -> dict[str, str]:
        """Returns the classes, and the first images of each split with their masks."""
        return masked_sections(_VALUES, records, per_class)


def _devkit(names: Sequence[str]) -> str | None:
    """Returns the folder of the devkit, ending in "/" or empty; VOC2012 if there are several, as in other years."""
    end = f"{_LISTS}/val.txt"
    folders = [name.removesuffix(end) for name in names if name == end or name.endswith(f"/{end}")]
    return min(folders, key=lambda folder: (not folder.endswith("VOC2012/"), len(folder)), default=None)


def _by_image(source: str, files: AnyCollection[SourceFile], root: str, suffix_of: Mapping[str, str]) -> Files:
    """Returns the files in some folders, wherever those are below the root.

    Args:
        source: source of the files.
        files: files of the source.
        root: folder within the source; without one, the source can be one of the folders itself.
        suffix_of: suffix of the files in each folder.
    """
    found: Files = {}
    for file in files:
        folder = os.path.dirname(file.name.removeprefix(root)) or ("" if root else source.rstrip("/"))
        stem, suffix = os.path.splitext(os.path.basename(file.name))
        if suffix_of.get(os.path.basename(folder)) == suffix.lower():
            found.setdefault(stem, SourcedFile(source, file))
    return found


def _description(problems: Sequence[Problem]) -> str:
    return f"{problems[0].where} ({problems[0].kind}), for example" if problems else "nothing"
