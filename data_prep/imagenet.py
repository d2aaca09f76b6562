"""ImageNet (ILSVRC 2012) as a collection: what is particular to its preparation."""

import concurrent.futures
import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tensorflow_datasets.core.utils.shard_utils import ShardConfig

from data_prep import storage
from data_prep.collection import Collection, Contents, Conversion
from data_prep.ilsvrc import (
    IMAGES_PER_CLASS,
    NUM_CLASSES,
    NUM_IMAGES,
    label_of_synset,
    label_of_validation_name,
    synset_of_train_name,
    synsets,
)
from data_prep.imagenet_sources import Container, find_containers, find_split, list_container, merge_listings
from data_prep.listing import Listing
from data_prep.local_workers import LocalWorkers, advance
from data_prep.photograph import check_and_repair
from data_prep.problems import Problem
from hamgan.errors import UserError

_CONTAINERS_PER_TASK = 16
_TYPICAL_RECORD_OVERHEAD = 64
_CHECK_SUMMARIES = {"structure": "the structure of every image was checked", "full": "every image was decoded"}


class Selection(NamedTuple):
    """The part of ImageNet to prepare, by default all of it.

    Args:
        synsets: classes to prepare, or None for all.
        per_class: maximum number of images per class in each split, or None for all.
    """

    synsets: tuple[str, ...] | None = None
    per_class: int | None = None

    @property
    def is_subset(self) -> bool:
        """Whether the selection leaves anything out."""
        return self != Selection()


_EVERYTHING = Selection()


@dataclasses.dataclass(frozen=True)
class PhotographConversion(Conversion):
    """Checks photographs, and converts those that are not JPEG files in RGB or grayscale.

    Args:
        check: how to check images, one of ``data_prep.photograph.CHECKS``.
    """

    check: str = "structure"

    @property
    def settings(self) -> str:
        """The check, which decides on what counts as damaged."""
        return self.check

    def image_name(self, image: np.void) -> str:
        """Returns the file name of an image, preceded by its class unless the name implies it."""
        name, synset = image["name"].decode(errors="replace"), synsets()[image["label"]]
        implies_class = synset_of_train_name(name) == synset or label_of_validation_name(name) is not None
        return name if implies_class else f"{synset}/{name}"

    def class_key(self, label: int) -> bytes:
        """Returns the synset of a label."""
        return synsets()[label].encode()

    def convert(self, image: np.void, contents: Sequence[bytes]) -> tuple[bytes, str | None, str]:
        """Returns a valid JPEG, as :func:`data_prep.photograph.check_and_repair` does."""
        (data,) = contents
        return check_and_repair(data, self.check)

    def num_shards(self, images: np.ndarray) -> int:
        """Returns the number of record files that the stock TFDS builder writes."""
        name_bytes = np.char.str_len(images["name"])
        total = int(images["size"].sum() + name_bytes.sum()) + _TYPICAL_RECORD_OVERHEAD * len(images)
        return ShardConfig.calculate_number_shards(total, len(images))


@dataclasses.dataclass(frozen=True)
class Imagenet(Collection):
    """ImageNet, or a part of it.

    Args:
        sources: tar or folder of each split; one split may be absent.
        selection: part of ImageNet to prepare.
        check: how to check images, one of ``data_prep.photograph.CHECKS``.
    """

    sources: Mapping[str, str]
    selection: Selection = _EVERYTHING
    check: str = "structure"

    @property
    def title(self) -> str:
        """Name of the collection for messages."""
        return "ImageNet"

    @property
    def options(self) -> str:
        """Options that decide on the content of the records, for messages."""
        return "selection or another --check"

    @property
    def per_class(self) -> int | None:
        """Maximum number of images per class in each split."""
        return self.selection.per_class

    def find(self, workers: LocalWorkers) -> Contents:
        """Finds and labels all images of the selection."""
        splits: dict[str, Listing] = {}
        problems: list[Problem] = []
        for split in self.sources:
            splits[split] = self._list_split(split, workers)
            problems.extend(splits[split].problems)
        return Contents(synsets(), splits, self.sources, problems, PhotographConversion(self.check))

    def _list_split(self, split: str, workers: LocalWorkers) -> Listing:
        source, wanted = self.sources[split], self.selection.synsets
        containers, problems = find_containers(source, split)
        if wanted is not None:
            containers = [each for each in containers if each.synset is None or each.synset in wanted]
        tasks = [
            (containers[start : start + _CONTAINERS_PER_TASK], split)
            for start in range(0, len(containers), _CONTAINERS_PER_TASK)
        ]
        listings = workers.run(_list_containers, tasks, title=f"Listing {split}", unit="part", total=len(containers))
        listing = merge_listings(itertools.chain.from_iterable(listings))
        if wanted is not None:
            labels = [label_of_synset()[synset] for synset in wanted]
            listing = listing._replace(images=listing.images[np.isin(listing.images["label"], labels)])
        problems += listing.problems
        if not len(listing.images):
            raise UserError(
                f"no {split} images of the requested classes in {source}: expected an original tar, or a folder in the "
                f"layout of ImageNet or PyTorch; found {f'{problems[0].where}, for example' if problems else 'nothing'}"
            )
        found = np.bincount(listing.images["label"], minlength=NUM_CLASSES)
        return listing._replace(problems=problems + completeness_problems(split, found, self.selection))

    def report_settings(self) -> dict[str, Any]:
        """Returns the selection and the check."""
        return {"subset": self.selection._asdict() if self.selection.is_subset else None, "check": self.check}

    def remarks(self) -> list[str]:
        """Returns how images were checked, and whether the selection leaves any out."""
        return [_CHECK_SUMMARIES[self.check], *(["a subset, as requested"] if self.selection.is_subset else [])]

    def expected_images(self, split: str) -> str:
        """Returns the number of images of ILSVRC 2012, or "-" for a subset."""
        return "-" if self.selection.is_subset else f"{NUM_IMAGES[split]:,}"


def _list_containers(containers: list[Container], split: str) -> list[Listing]:
    """Lists several tars or folders in parallel threads, which mostly wait for the disk."""

    def list_one(container: Container) -> Listing:
        listing = list_container(container, split)
        advance(1)
        return listing

    with concurrent.futures.ThreadPoolExecutor(len(containers)) as threads:
        return list(threads.map(list_one, containers))


def find_sources(source: str | None, train: str | None, validation: str | None) -> dict[str, str]:
    """Returns the tar or folder of each split.

    Args:
        source: folder that holds the splits that are not passed explicitly, or None.
        train: tar or folder of the training images, or None.
        validation: tar or folder of the validation images, or None.

    Raises:
        UserError: ``source`` cannot be read or does not hold a split, or both splits have the same tar or folder.
    """
    paths = {"train": train, "validation": validation}
    with storage.errors_as_user_errors():
        if source is not None:
            paths = {split: path or find_split(source, split) for split, path in paths.items()}
    if paths["train"] is not None and paths["validation"] is not None:
        one, other = (storage.canonical(path) for path in paths.values() if path is not None)
        if one == other:
            raise UserError(
                f"expected different tars or folders for the two splits, found {one} for both --train and --validation"
            )
    return {split: path for split, path in paths.items() if path is not None}


def completeness_problems(split: str, found: np.ndarray, selection: Selection) -> list[Problem]:
    """Compares the number of images found with ILSVRC 2012.

    Args:
        split: "train" or "validation".
        found: number of images for each label, shape ``(1000,)``, before ``selection.per_class`` is applied.
        selection: part of ImageNet that was requested.
    """
    problems = []
    wanted = synsets() if selection.synsets is None else selection.synsets
    fewest, most = IMAGES_PER_CLASS[split]
    expected = f"expected {fewest}" if fewest == most else f"expected {fewest} to {most:,}"
    for label, synset in enumerate(synsets()):
        if synset in wanted and not found[label]:
            problems.append(Problem(split, "missing_synset", synset))
        elif synset in wanted and not fewest <= found[label] <= most:
            problems.append(Problem(split, "class_count", synset, f"{expected} images, found {found[label]:,}"))
    if len(wanted) == NUM_CLASSES and found.sum() != NUM_IMAGES[split]:
        detail = f"expected {NUM_IMAGES[split]:,} images, found {found.sum():,}"
        problems.append(Problem(split, "total", f"all {split} images", detail))
    return problems
