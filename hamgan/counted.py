"""Numbers of things in words."""


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Returns a number and a noun, which is singular for 1.

    Args:
        count: the number.
        singular: the noun, with any words before it.
        plural: plural of the noun; by default, ``singular`` with "s", or with "es" after an s.

    Example:
        >>> from hamgan.counted import counted
        >>> counted(1, "broken file"), counted(1_200, "class")
        ('1 broken file', '1,200 classes')
    """
    if plural is None:
        plural = f"{singular}es" if singular.endswith("s") else f"{singular}s"
    return f"{count:,} {singular if count == 1 else plural}"
