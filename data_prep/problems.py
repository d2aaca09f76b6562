"""What is odd about somebody's ImageNet."""

import dataclasses
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of oddity: what it means and what is done about it."""

    meaning: str
    remedy: str
    serious: bool = True
    """Whether ``--strict`` refuses it. The original files have the ones that are not."""


KINDS: dict[str, Kind] = {
    "missing_synset": Kind("classes of ILSVRC 2012 without any image", "prepared without them"),
    "unknown_synset": Kind("classes that are not among the 1,000 of ILSVRC 2012", "skipped"),
    "total": Kind("another number of images than ILSVRC 2012 has", "prepared as found"),
    "class_count": Kind("classes with fewer or more images than any class of ILSVRC 2012", "prepared as found"),
    "damaged": Kind("images that do not decode", "skipped"),
    "unreadable": Kind("files that cannot be read", "skipped"),
    "duplicate_name": Kind("several images of one name in a class", "all but the first skipped"),
    "misplaced": Kind(
        "training images whose name begins with another class than their folder", "kept with the folder's label"
    ),
    "validation_label": Kind(
        "validation images in another class's folder than ILSVRC 2012 says", "kept with ILSVRC 2012's label"
    ),
    "renamed": Kind(
        "validation images whose names have lost their number", "kept with the folder's label, skipped without one"
    ),
    "other_split": Kind("images whose names say that they are of the other split", "skipped"),
    "not_an_image": Kind("files that are not images by their name", "skipped"),
    "cmyk": Kind("JPEG files in CMYK colours, of which ILSVRC 2012 has 22", "converted to RGB", serious=False),
    "png": Kind("PNG files named .JPEG, of which ILSVRC 2012 has 1", "converted to JPEG", serious=False),
    "other_format": Kind("images in a format that is neither JPEG nor PNG", "converted to JPEG"),
    "warning": Kind("images that decode with a warning of libjpeg's", "kept as they are", serious=False),
    "system_file": Kind("files that operating systems leave behind", "ignored", serious=False),
}


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One oddity.

    Args:
        split: "train" or "validation".
        kind: a key of ``KINDS``.
        where: the image, class or file.
        detail: what was found, or an empty string.
    """

    split: str
    kind: str
    where: str
    detail: str = ""

    def __post_init__(self) -> None:
        """Validates."""
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, found '{self.kind}'")

    @property
    def serious(self) -> bool:
        """Whether ``--strict`` refuses it."""
        return KINDS[self.kind].serious
