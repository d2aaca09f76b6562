"""Lists of classes as users write them."""

from hamgan.errors import UserError


def parse_classes(text: str, num_classes: int, name: str) -> list[int]:
    """Reads a list such as ``0,3,7-9``.

    Args:
        text: the list.
        num_classes: how many there are.
        name: of the option or field, for the message.

    Raises:
        UserError: it is not one, or a class is not in [0, num_classes).
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
