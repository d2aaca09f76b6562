"""Finds and labels the images of an ImageNet split in tars and folders, in any of the usual layouts."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from data_prep import storage
from data_prep.ilsvrc import (
    IMAGE_SUFFIXES,
    TRAIN_TAR,
    VALIDATION_TAR,
    label_of_synset,
    label_of_validation_name,
    synset_of_train_name,
)
from data_prep.listing import IN_FOLDER, Listing, is_system_file
from data_prep.problems import Problem
from data_prep.tar_index import TarMember, tar_members
from hamgan.errors import UserError

MAX_NAME_BYTES = 64
"""Maximum length of an image's file name."""

IMAGE = np.dtype(
    [
        ("name", f"S{MAX_NAME_BYTES}"),
        ("label", np.int16),
        ("container", np.int32),
        ("offset", np.int64),
        ("size", np.int64),
        ("modified", np.int64),
    ]
)
"""Location and label of an image.

"container" is the index of the tar or folder that holds the image, "offset" its position in the tar in bytes or -1 in a
folder, "size" its size in bytes, and "modified" the modification time of the image file or tar.
"""

_SPLIT_NAMES = {
    "train": (TRAIN_TAR, "train", "ILSVRC2012_img_train"),
    "validation": (VALIDATION_TAR, "val", "validation", "ILSVRC2012_img_val"),
}
"""Usual names of the tar or folder of each split."""
_PARENTS = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
"""Folders below the source that can hold both splits. The last three occur in the archive of the Kaggle challenge."""


class Container(NamedTuple):
    """A tar or folder of images.

    Args:
        path: path of the folder, or of the outermost tar.
        synset: class of all images in the container, or None if it can hold several.
        offset: start of the tar within the outermost tar, in bytes; None for a folder.
        size: size of the tar in bytes; None for a folder.
    """

    path: str
    synset: str | None
    offset: int | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """Name for messages: the path, including the path within an outer tar."""
        is_inner_tar = self.offset and self.synset
        return f"{self.path}/{self.synset}.tar" if is_inner_tar else self.path


def find_split(source: str, split: str) -> str:
    """Returns the path of a split's tar or folder.

    Args:
        source: folder that holds the splits, under any of their usual names.
        split: "train" or "validation".

    Raises:
        UserError: the folder does not hold the split.
    """
    tried = [storage.join(source, *filter(None, [parent, name])) for parent in _PARENTS for name in _SPLIT_NAMES[split]]
    for path in tried:
        if storage.exists(path):
            return path
    expected = " or ".join(_SPLIT_NAMES[split][:2])
    raise UserError(f"no {split} images in {source}: expected {expected} there; pass the tar or folder with --{split}")


def find_containers(path: str, split: str) -> tuple[list[Container], list[Problem]]:
    """Returns the tars and folders that hold the images of a split, without listing them.

    Args:
        path: tar or folder of the split.
        split: "train" or "validation".

    Returns:
        The containers, and a problem for each unexpected file or folder beside them.

    Raises:
        UserError: the path does not exist, or is a damaged or unsafe tar.
    """
    if not storage.exists(path):
        raise UserError(f"no {split} images in {path}: no such file or folder; check --{split}")
    if not storage.is_folder(path):
        return _containers_in_tar(path, split)
    found = [Container(path, None)]
    problems: list[Problem] = []
    for name, is_folder in storage.children(path):
        inner = storage.join(path, name)
        synset = name if is_folder else name.removesuffix(".tar")
        if is_folder and synset in label_of_synset():
            found.append(Container(inner, synset))
        elif is_folder:
            problems.append(_unexpected_container(split, inner, name))
        elif name.endswith(".tar") and synset in label_of_synset():
            found.append(Container(inner, synset, 0, storage.status(inner).size))
        elif name.endswith(".tar"):
            problems.append(_unexpected_container(split, inner, synset))
    return found, problems


def _containers_in_tar(path: str, split: str) -> tuple[list[Container], list[Problem]]:
    """Returns the inner tars of a tar of tars, or the tar itself if it holds any images directly."""
    size = storage.status(path).size
    whole = Container(path, None, 0, size)
    found: list[Container] = []
    problems: list[Problem] = []
    with storage.open_binary(path) as file:
        for member in tar_members(file, path, size=size):
            base = member.parts[-1]
            inner = _inner_container(path, member)
            if inner is not None:
                found.append(inner)
            elif base.lower().endswith(IMAGE_SUFFIXES) and not is_system_file(base):
                return [whole], []
            elif base.endswith(".tar"):
                problems.append(_unexpected_container(split, f"{path}/{base}", base.removesuffix(".tar")))
            else:
                problems.append(_unexpected_file(split, f"{path}/{base}", base))
    return (found, problems) if found else ([whole], [])


def _inner_container(path: str, member: TarMember) -> Container | None:
    """Returns the container of a class if a member of the outer tar is one."""
    base = member.parts[-1]
    synset = base.removesuffix(".tar")
    if not base.endswith(".tar") or synset not in label_of_synset():
        return None
    return Container(path, synset, member.offset, member.size)


def _unexpected_container(split: str, where: str, name: str) -> Problem:
    if is_system_file(name):
        return Problem(split, "system_file", where)
    return Problem(split, "unknown_synset", where, f"'{name}' is not a class of ILSVRC 2012")


def _unexpected_file(split: str, where: str, name: str) -> Problem:
    return Problem(split, "system_file" if is_system_file(name) else "not_an_image", where)


def list_container(container: Container, split: str) -> Listing:
    """Lists the images of one container, with their labels.

    Args:
        container: tar or folder.
        split: "train" or "validation".

    Returns:
        The images, and a problem for each file that is unexpected or cannot be used.

    Raises:
        UserError: a tar is damaged or unsafe.
    """
    problems: list[Problem] = []
    rows = list(_labeled(_files(container, split, problems), container, split, problems))
    return Listing(np.array(rows, IMAGE), (container.path,), problems)


class _File(NamedTuple):
    name: str
    folder: str | None
    """Name of the parent folder within a tar, or None."""
    offset: int
    size: int
    modified: int


def _files(container: Container, split: str, problems: list[Problem]) -> Iterator[_File]:
    if container.offset is not None and container.size is not None:
        modified = storage.status(container.path).modified
        with storage.open_binary(container.path) as file:
            for member in tar_members(file, container.name, start=container.offset, size=container.size):
                inner = _inner_container(container.path, member) if container.synset is None else None
                if inner is not None:  # in a tar that also holds images; other inner tars are containers themselves
                    inner_files = _files(inner, split, problems)
                    yield from (file._replace(folder=inner.synset) for file in inner_files)
                    continue
                folder = member.parts[-2] if len(member.parts) > 1 else None
                yield _File(member.parts[-1], folder, member.offset, member.size, modified)
        return
    for name, is_folder in storage.children(container.path):
        path = storage.join(container.path, name)
        if is_folder or name.endswith(".tar"):
            if container.synset is not None:
                problems.append(Problem(split, "not_an_image", path, "folder or tar within the folder of a class"))
            continue
        try:
            size, modified = storage.status(path)
        except OSError as error:
            problems.append(Problem(split, "unreadable", path, error.strerror or str(error)))
            continue
        yield _File(name, None, IN_FOLDER, size, modified)


def _labeled(
    files: Iterable[_File], container: Container, split: str, problems: list[Problem]
) -> Iterator[tuple[bytes, int, int, int, int, int]]:
    label_of: Callable[[_File, str | None, list[Problem]], int | None]
    label_of = _train_label if split == "train" else _validation_label
    for file in files:
        where = f"{container.name}/{file.name}"
        encoded = file.name.encode(errors="surrogateescape")
        if is_system_file(file.name) or not file.name.lower().endswith(IMAGE_SUFFIXES):
            problems.append(_unexpected_file(split, where, file.name))
        elif len(encoded) > MAX_NAME_BYTES:
            problems.append(Problem(split, "unreadable", where, f"the name is longer than {MAX_NAME_BYTES} bytes"))
        else:
            folder = file.folder if file.folder in label_of_synset() else None
            label = label_of(file, container.synset or folder, problems)
            if label is not None:
                yield encoded, label, 0, file.offset, file.size, file.modified


def _train_label(file: _File, synset: str | None, problems: list[Problem]) -> int | None:
    name_synset = synset_of_train_name(file.name)
    if label_of_validation_name(file.name) is not None:
        problems.append(Problem("train", "other_split", file.name))
        return None
    if synset is None:
        problems.append(Problem("train", "unknown_synset", file.name, "not in the folder or tar of a class"))
        return None
    if name_synset != synset:
        problems.append(Problem("train", "misplaced", f"{synset}/{file.name}", f"expected {synset}_NUMBER.JPEG"))
    return label_of_synset()[synset]


def _validation_label(file: _File, synset: str | None, problems: list[Problem]) -> int | None:
    label = label_of_validation_name(file.name)
    folder_label = None if synset is None else label_of_synset()[synset]
    if synset_of_train_name(file.name) is not None:
        problems.append(Problem("validation", "other_split", file.name))
        return None
    if label is None:
        detail = "expected ILSVRC2012_val_00000001.JPEG to ILSVRC2012_val_00050000.JPEG"
        problems.append(Problem("validation", "renamed", file.name, detail))
        return folder_label
    if folder_label not in (None, label):
        problems.append(Problem("validation", "validation_label", file.name, f"found in the folder of {synset}"))
    return label


def merge_listings(listings: Iterable[Listing]) -> Listing:
    """Returns the images of several listings as one, with "container" indices of the common list of paths.

    Args:
        listings: results of :func:`list_container`.
    """
    images: list[np.ndarray] = [np.empty(0, IMAGE)]
    index_of: dict[str, int] = {}
    problems: list[Problem] = []
    for listing in listings:
        (path,) = listing.containers
        listing.images["container"] = index_of.setdefault(path, len(index_of))
        images.append(listing.images)
        problems.extend(listing.problems)
    return Listing(np.concatenate(images), tuple(index_of), problems)
