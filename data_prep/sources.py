"""Finding the images of a split in tars and folders, wherever they are packed."""

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

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
from data_prep.problems import Problem
from data_prep.tar_index import TarMember, tar_members
from hamgan.errors import UserError

MAX_NAME_BYTES = 64
MAX_IMAGE_BYTES = 64 << 20
"""Larger files are not read; the largest photograph of ILSVRC 2012 has a quarter of it."""

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
"""Where one image lies: ``container`` is the index of a tar or folder, ``offset`` its first byte in a tar, or -1."""

_IN_FOLDER = -1
_REMOTE_READERS = 16
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")

_PLACES = {
    "train": (TRAIN_TAR, "train", "ILSVRC2012_img_train"),
    "validation": (VALIDATION_TAR, "val", "validation", "ILSVRC2012_img_val"),
}
_PARENTS = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")
"""Where the archive of the Kaggle challenge has ``train`` and ``val``."""


class Place(NamedTuple):
    """One tar or folder to be listed.

    Args:
        path: path of the folder, or of the file that the tar lies in.
        synset: the class of all that is in it, if its name says so.
        offset, size: where the tar lies in its file; None for a folder.
    """

    path: str
    synset: str | None
    offset: int | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        inner = self.offset and self.synset
        return f"{self.path}/{self.synset}.tar" if inner else self.path


class Listing(NamedTuple):
    """What a place holds; ``images``' container is 0, ``containers`` has the one path."""

    images: np.ndarray
    containers: tuple[str, ...]
    problems: list[Problem]


def find_split(source: str, split: str) -> str:
    """Returns the tar or folder of a split below a folder of the user's.

    Raises:
        UserError: there is none.
    """
    tried = [storage.join(source, *filter(None, [parent, name])) for parent in _PARENTS for name in _PLACES[split]]
    for path in tried:
        if storage.exists(path):
            return path
    expected = " or ".join(_PLACES[split][:2])
    raise UserError(f"no {split} images in {source}: expected {expected} there; pass --{split} with the tar or folder")


def places(path: str, split: str) -> tuple[list[Place], list[Problem]]:
    """Returns what has to be listed to know a split's images, without listing it.

    Raises:
        UserError: ``path`` does not exist, or is a tar that is broken or hostile.
    """
    if not storage.exists(path):
        raise UserError(f"no {split} images at {path}: there is no such file or folder")
    if not storage.is_folder(path):
        return _places_in_tar(path, split)
    found = [Place(path, None)]
    problems: list[Problem] = []
    for name, is_folder in storage.children(path):
        inner = storage.join(path, name)
        synset = name if is_folder else name.removesuffix(".tar")
        if is_folder and synset in label_of_synset():
            found.append(Place(inner, synset))
        elif is_folder:
            problems.append(_odd_container(split, inner, name))
        elif name.endswith(".tar") and synset in label_of_synset():
            found.append(Place(inner, synset, 0, storage.status(inner).size))
        elif name.endswith(".tar"):
            problems.append(_odd_container(split, inner, synset))
    return found, problems


def _places_in_tar(path: str, split: str) -> tuple[list[Place], list[Problem]]:
    """A tar of tars is a place for each; a tar with images is one, whatever else is in it."""
    size = storage.status(path).size
    whole = Place(path, None, 0, size)
    found: list[Place] = []
    problems: list[Problem] = []
    with storage.open_binary(path) as file:
        for member in tar_members(file, path, size=size):
            base = member.parts[-1]
            inner = _inner_place(path, member)
            if inner is not None:
                found.append(inner)
            elif base.lower().endswith(IMAGE_SUFFIXES) and not _is_system_file(base):
                return [whole], []
            elif base.endswith(".tar"):
                problems.append(_odd_container(split, f"{path}/{base}", base.removesuffix(".tar")))
            else:
                problems.append(_odd_file(split, f"{path}/{base}", base))
    return (found, problems) if found else ([whole], [])


def _inner_place(path: str, member: TarMember) -> Place | None:
    """The tar of a class within the tar of all, if that is what a member is."""
    base = member.parts[-1]
    synset = base.removesuffix(".tar")
    if not base.endswith(".tar") or synset not in label_of_synset():
        return None
    return Place(path, synset, member.offset, member.size)


def _odd_container(split: str, where: str, name: str) -> Problem:
    if _is_system_file(name):
        return Problem(split, "system_file", where)
    return Problem(split, "unknown_synset", where, f"'{name}' is not a class of ILSVRC 2012")


def _odd_file(split: str, where: str, name: str) -> Problem:
    return Problem(split, "system_file" if _is_system_file(name) else "not_an_image", where)


def _is_system_file(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def list_place(place: Place, split: str) -> Listing:
    """Lists the images of one place, with their labels; what cannot be used becomes a problem.

    Raises:
        UserError: a tar is broken or hostile.
    """
    problems: list[Problem] = []
    rows = list(_labelled(_files(place, split, problems), place, split, problems))
    return Listing(np.array(rows, IMAGE), (place.path,), problems)


class _File(NamedTuple):
    name: str
    folder: str | None
    """Name of the folder that it lies in, inside a tar."""
    offset: int
    size: int
    modified: int


def _files(place: Place, split: str, problems: list[Problem]) -> Iterator[_File]:
    if place.offset is not None and place.size is not None:
        modified = storage.status(place.path).modified
        with storage.open_binary(place.path) as file:
            for member in tar_members(file, place.name, start=place.offset, size=place.size):
                inner = _inner_place(place.path, member) if place.synset is None else None
                if inner is not None:  # beside images: a tar of tars alone has a place for each
                    inner_files = _files(inner, split, problems)
                    yield from (file._replace(folder=inner.synset) for file in inner_files)
                    continue
                folder = member.parts[-2] if len(member.parts) > 1 else None
                yield _File(member.parts[-1], folder, member.offset, member.size, modified)
        return
    for name, is_folder in storage.children(place.path):
        path = storage.join(place.path, name)
        if is_folder or name.endswith(".tar"):
            if place.synset is not None:
                problems.append(Problem(split, "not_an_image", path, "a folder or tar inside of a class's folder"))
            continue
        try:
            size, modified = storage.status(path)
        except OSError as error:
            problems.append(Problem(split, "unreadable", path, error.strerror or str(error)))
            continue
        yield _File(name, None, _IN_FOLDER, size, modified)


def _labelled(
    files: Iterable[_File], place: Place, split: str, problems: list[Problem]
) -> Iterator[tuple[bytes, int, int, int, int, int]]:
    label_of: Callable[[_File, str | None, list[Problem]], int | None]
    label_of = _train_label if split == "train" else _validation_label
    for file in files:
        where = f"{place.name}/{file.name}"
        encoded = file.name.encode(errors="surrogateescape")
        if _is_system_file(file.name) or not file.name.lower().endswith(IMAGE_SUFFIXES):
            problems.append(_odd_file(split, where, file.name))
        elif len(encoded) > MAX_NAME_BYTES:
            problems.append(Problem(split, "unreadable", where, f"its name is longer than {MAX_NAME_BYTES} bytes"))
        else:
            folder = file.folder if file.folder in label_of_synset() else None
            label = label_of(file, place.synset or folder, problems)
            if label is not None:
                yield encoded, label, 0, file.offset, file.size, file.modified


def _train_label(file: _File, synset: str | None, problems: list[Problem]) -> int | None:
    own = synset_of_train_name(file.name)
    if label_of_validation_name(file.name) is not None:
        problems.append(Problem("train", "other_split", file.name))
        return None
    if synset is None:
        problems.append(Problem("train", "unknown_synset", file.name, "lies in no class's folder or tar"))
        return None
    if own != synset:
        problems.append(Problem("train", "misplaced", f"{synset}/{file.name}", f"expected {synset}_NUMBER.JPEG"))
    return label_of_synset()[synset]


def _validation_label(file: _File, synset: str | None, problems: list[Problem]) -> int | None:
    label = label_of_validation_name(file.name)
    of_folder = None if synset is None else label_of_synset()[synset]
    if synset_of_train_name(file.name) is not None:
        problems.append(Problem("validation", "other_split", file.name))
        return None
    if label is None:
        detail = "expected ILSVRC2012_val_00000001.JPEG to ILSVRC2012_val_00050000.JPEG"
        problems.append(Problem("validation", "renamed", file.name, detail))
        return of_folder
    if of_folder not in (None, label):
        problems.append(Problem("validation", "validation_label", file.name, f"found in {synset}'s folder"))
    return label


def merge(listings: Iterable[Listing]) -> Listing:
    """Returns the images of several places together, each pointing at its container."""
    images: list[np.ndarray] = [np.empty(0, IMAGE)]
    index_of: dict[str, int] = {}
    problems: list[Problem] = []
    for listing in listings:
        (path,) = listing.containers
        listing.images["container"] = index_of.setdefault(path, len(index_of))
        images.append(listing.images)
        problems.extend(listing.problems)
    return Listing(np.concatenate(images), tuple(index_of), problems)


def read_images(images: np.ndarray, containers: Mapping[int, str]) -> Iterator[bytes | OSError]:
    """Reads images, in their order.

    Local files are announced to the system in the order in which they lie on the disk, so that it reads ahead; files in
    buckets are read several at a time.

    Args:
        images: array of dtype ``IMAGE``; together they should fit into memory.
        containers: paths by index.

    Yields:
        For each image its bytes, or the error that reading it raised.
    """
    with contextlib.ExitStack() as stack:
        if any(storage.is_remote(path) for path in containers.values()):
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(_REMOTE_READERS))
            yield from pool.map(lambda image: _read_image(image, containers, {}), images)
            return
        tars: dict[str, BinaryIO] = {}
        stack.callback(lambda: [tar.close() for tar in tars.values()])
        for image in images[np.lexsort((images["name"], images["offset"], images["container"]))]:
            _announce(image, containers, tars)
        for image in images:
            yield _read_image(image, containers, tars)


def _announce(image: np.void, containers: Mapping[int, str], tars: dict[str, BinaryIO]) -> None:
    # An error will come up again when the image is read.
    with contextlib.suppress(OSError), _opened(image, containers, tars) as file:
        storage.read_ahead(file, max(0, int(image["offset"])), int(image["size"]))


def _read_image(image: np.void, containers: Mapping[int, str], tars: dict[str, BinaryIO]) -> bytes | OSError:
    offset, size = max(0, int(image["offset"])), int(image["size"])
    try:
        if size > MAX_IMAGE_BYTES:
            raise OSError(f"expected at most {MAX_IMAGE_BYTES:,} bytes, found {size:,}")
        with _opened(image, containers, tars) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise OSError(f"expected {size:,} bytes, found {len(data):,}: it was changed while being read")
        return data
    except OSError as error:
        return error


def _opened(
    image: np.void, containers: Mapping[int, str], tars: dict[str, BinaryIO]
) -> contextlib.AbstractContextManager[BinaryIO]:
    """The file that an image lies in; tars stay open."""
    path = containers[int(image["container"])]
    if image["offset"] == _IN_FOLDER:
        return storage.open_binary(storage.join(path, image["name"].decode(errors="surrogateescape")))
    if storage.is_remote(path):  # read by several threads
        return storage.open_binary(path)
    if path not in tars:
        tars[path] = storage.open_binary(path)
    return contextlib.nullcontext(tars[path])
