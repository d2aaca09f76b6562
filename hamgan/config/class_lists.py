"""Lists of classes on the command line and in configs."""

from hamgan.errors import UserError


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
        >>> parse_classes("0,3,7-9", num_classes=10, name="--classes")
        [0, 3, 7, 8, 9]
    """
    classes: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or item.endswith("-"):
            raise UserError(f"{name} expects numbers and ranges such as 0,3,7-9, found '{text}'")
        classes.extend(range(int(first), int(last or first) + 1))
    outside = [label for label in classes if label >= num_classes]
    if outside or not classes:
        raise UserError(f"{name} must be in 0-{num_classes - 1}, found '{text}'")
    return classes
