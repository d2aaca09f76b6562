"""Problems that can be found in a collection of images."""

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
    "system_file": Kind("hidden files, and files that operating systems create", "ignored", serious=False),
    # Only in folders of pictures:
    "sibling_folders": Kind(
        "folders beside --source that hold pictures too", "not prepared; if they are classes, pass the folder above"
    ),
    "wrapping_folder": Kind(
        "folders that hold everything else", "left out of the names of files and classes", serious=False
    ),
    "unsupported": Kind("pictures in a format that cannot be read", "skipped"),
    "not_a_picture": Kind("files that are not pictures", "skipped", serious=False),
    "too_large": Kind("files that are too large", "skipped"),
    "broken_link": Kind("links to files or folders that do not exist", "skipped"),
    "link_loop": Kind("links to a folder that they are in", "skipped"),
    "only_subfolders": Kind(
        "class folders that hold several folders and no pictures", "kept as one class each; check that this is meant"
    ),
    "unlabeled": Kind("pictures outside of the class folders", "skipped"),
    "unused_split": Kind("folders of a further split", "ignored"),
    "without_row": Kind("pictures without a row in labels.csv", "skipped"),
    "without_file": Kind("rows of labels.csv whose file does not exist or is not a usable picture", "skipped"),
    "repeated_row": Kind("rows that labels.csv repeats", "used once", serious=False),
    "too_small": Kind("classes with pictures smaller than --min_size", "such pictures are skipped", serious=False),
    "enlarged": Kind("classes with pictures smaller than the resolution", "such pictures are enlarged", serious=False),
    "same_content": Kind("groups of files with the same content in one class", "kept, in one split", serious=False),
    "same_content_other_class": Kind("groups of files with the same content in several classes", "kept, in train"),
    "same_content_other_split": Kind("groups of files with the same content in both splits", "kept in both"),
    "no_validation": Kind("classes without validation pictures", "prepared without them"),
    # Only in images with masks:
    "outside_folders": Kind("files outside of the folders of images and masks", "ignored", serious=False),
    "without_mask": Kind("images without a mask", "skipped"),
    "without_image": Kind("masks without an image", "skipped"),
    "mask_format": Kind("masks that do not store an index for each pixel", "skipped, with their images"),
    "mask_size": Kind("masks of another size than their images", "skipped, with their images"),
    "mask_values": Kind("masks with values that are no class", "skipped, with their images"),
    "only_ignored": Kind("masks whose pixels are all to be ignored", "kept", serious=False),
    "absent_class": Kind("classes that are in no mask of a split", "prepared without them"),
    "not_in_a_split": Kind("images in no folder of a split, beside such folders", "skipped"),
    # Only in PASCAL VOC:
    "listed_without_file": Kind("listed images without an image file", "skipped"),
    "repeated_name": Kind("names that a list repeats", "used once", serious=False),
    "validation_in_train": Kind("training images that are validation images, too", "left out of the training split"),
    "voc_total": Kind("splits whose number of images differs from PASCAL VOC 2012", "prepared as found"),
}
"""All kinds of problems by name. Names are stored in ``preparation.json``."""


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """One problem.

    Args:
        split: name of the split, or "source" if the problem concerns the source of both.
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
