"""Helpers shared by the tests of the preparation."""

import pathlib

from data_prep.forms import get_forms
from data_prep.ilsvrc import synsets
from data_prep.preparation import Request, Selection
from data_prep.sources import find_split

CLASSES = synsets()[:600:150]


def request_for(source, data_dir, *, forms=("original",), selection=None, **options):
    sources = {split: find_split(str(source), split) for split in ("train", "validation")}
    return Request(sources, str(data_dir), get_forms(list(forms)), selection or Selection(), workers=1, **options)


def all_files(folder) -> dict[str, bytes]:
    folder = pathlib.Path(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
