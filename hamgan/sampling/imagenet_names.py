"""Readable names of ImageNet's classes, which its data sets name by WordNet ids (synsets)."""

import functools
import importlib.resources
from collections.abc import Sequence


@functools.cache
def _names_of_synsets() -> dict[str, tuple[str, ...]]:
    """Returns the names of each synset, ordered by label."""
    text = importlib.resources.files("hamgan.sampling").joinpath("imagenet_names.txt").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {synset: tuple(names.split(", ")) for synset, names in rows}


def imagenet_synsets() -> list[str]:
    """Returns the WordNet ids of the 1,000 classes of ImageNet (ILSVRC 2012), ordered by label.

    Example:
        >>> from hamgan.sampling.imagenet_names import imagenet_synsets
        >>> imagenet_synsets()[281]
        'n02123045'
    """
    return list(_names_of_synsets())


def synset_names(class_name: str) -> tuple[str, ...]:
    """Returns the names of a synset of ImageNet, most common first; none if the text is something else.

    Example:
        >>> from hamgan.sampling.imagenet_names import synset_names
        >>> synset_names("n02123045")
        ('tabby', 'tabby cat')
    """
    return _names_of_synsets().get(class_name, ())


def readable_names(class_names: Sequence[str]) -> list[str]:
    """Returns the names of classes, with the first name of a synset instead of its id.

    Example:
        >>> from hamgan.sampling.imagenet_names import readable_names
        >>> readable_names(["n02123045", "roses"])
        ['tabby', 'roses']
    """
    return [next(iter(synset_names(name)), name) for name in class_names]
