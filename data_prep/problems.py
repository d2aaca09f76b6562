"""Problems that can be found in a copy of ImageNet."""

import dataclasses
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of problem.

    Args:
        meaning: description of the affected files or classes, a plural noun phrase.
        remedy: how the preparation handles them.
        serious: whether ``--strict`` rejects them; false for what the original files of ILSVRC 2012 contain.
    """

    meaning: str
    remedy: str
    serious: bool = True


KINDS: dict[str, Kind] = {
    "missing_synset": Kind("classes of ILSVRC 2012 without any images", "prepared without them"),
    "unknown_synset": Kind("classes that are not part of ILSVRC 2012", "skipped"),
    "total": Kind("splits whose number of images differs from ILSVRC 2012", "prepared as found"),
    "class_count": Kind("classes with fewer or more images than any class of ILSVRC 2012", "prepared as found"),
    "damaged": Kind("images that cannot be decoded", "skipped"),
    "unreadable": Kind("files that cannot be read", "skipped"),
    "duplicate_name": Kind("images with the same name as another image of their class", "skipped, except the first"),
    "misplaced": Kind(
        "training images whose name starts with another class than that of their folder",
        "kept with the label of the folder",
    ),
    "validation_label": Kind(
        "validation images in the folder of another class than in ILSVRC 2012", "kept with the label of ILSVRC 2012"
    ),
    "renamed": Kind(
        "validation images without a number in their name", "kept with the label of their folder, or skipped without it"
    ),
    "other_split": Kind("images of the other split, according to their names", "skipped"),
    "not_an_image": Kind("files without the extension of an image", "skipped"),
    "cmyk": Kind("JPEG files in CMYK (ILSVRC 2012 has 22)", "converted to RGB", serious=False),
    "png": Kind("PNG files named .JPEG (ILSVRC 2012 has 1)", "converted to JPEG", serious=False),
    "other_format": Kind("images that are neither JPEG nor PNG", "converted to JPEG"),
    "warning": Kind("images that libjpeg decodes with a warning", "kept unchanged", serious=False),
    "system_file": Kind("files that operating systems create", "ignored", serious=False),
}
"""All kinds of problems by name. Names are stored in ``preparation.json``."""


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One problem.

    Args:
        split: "train" or "validation".
        kind: key of ``KINDS``.
        where: image, class or file that has the problem.
        detail: further description, or an empty string.
    """

    split: str
    kind: str
    where: str
    detail: str = ""

    def __post_init__(self) -> None:
        """Validates the kind."""
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, found '{self.kind}'")

    @property
    def serious(self) -> bool:
        """Whether ``--strict`` rejects the problem."""
        return KINDS[self.kind].serious
