"""Helpers shared by the tests of the preparation."""

import pathlib

from data_prep.ilsvrc import synsets
from data_prep.imagenet import Imagenet, Selection
from data_prep.imagenet_forms import get_forms
from data_prep.imagenet_sources import find_split
from data_prep.prepare import Request

CLASSES = synsets()[:600:150]


def request_for(source, data_dir, *, forms=("original",), selection=None, check="structure", **options):
    sources = {split: find_split(str(source), split) for split in ("train", "validation")}
    collection = Imagenet(sources, selection or Selection(), check)
    return Request(collection, str(data_dir), get_forms(list(forms)), workers=1, **options)


def all_files(folder) -> dict[str, bytes]:
    folder = pathlib.Path(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_files(folder, files):
    """Writes files, contents by name, and returns their folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
