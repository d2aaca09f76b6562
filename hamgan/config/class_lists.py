"""Lists of classes in configs, and the names of such lists."""

import re

from hamgan.errors import UserError

IMAGENET = "imagenet2012"
"""Class list of ImageNet (ILSVRC 2012)."""
_SAME_CLASSES = {"imagenet_hamgan": IMAGENET}
"""Data sets with the classes of another data set, in the same order."""
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def class_list_name(dataset: str) -> str:
    """Returns the name of a data set's list of classes: the data set's name without version.

    Example:
        >>> from hamgan.config.class_lists import class_list_name
        >>> class_list_name("imagenet_hamgan/128:1.0.0")
        'imagenet2012'
    """
    name = dataset.split(":")[0]
    family = name.split("/")[0]
    if family == IMAGENET:
        return family
    return _SAME_CLASSES.get(family, name)


def parse_range(text: str) -> range | None:
    """Returns the labels of a number such as ``7`` or a range such as ``7-9``, or None for other text."""
    match = _RANGE.fullmatch(text)
    return None if match is None else range(int(match[1]), int(match[2] or match[1]) + 1)


def parse_classes(text: str, num_classes: int, name: str) -> list[int]:
    """Parses a list of labels such as ``0,3,7-9``.

    Args:
        text: text of the list.
        num_classes: number of classes.
        name: name of the option or field, for errors.

    Raises:
        UserError: the text is not a list of labels, or a label is not in [0, num_classes).

    Example:
        >>> from hamgan.config.class_lists import parse_classes
        >>> parse_classes("0,3,7-9", num_classes=10, name="evaluation.intra_classes")
        [0, 3, 7, 8, 9]
    """
    classes: list[int] = []
    for item in text.split(","):
        labels = parse_range(item)
        if labels is None:
            raise UserError(f"{name} expects numbers and ranges such as 0,3,7-9, found '{text}'")
        if not labels or labels[-1] >= num_classes:
            raise UserError(f"{name} must be in 0-{num_classes - 1}, found '{text}'")
        classes.extend(labels)
    return classes
