"""Aligned text tables, for the terminal."""

from collections.abc import Sequence


def text_table(rows: Sequence[Sequence[str]], *, left: int = 0) -> str:
    """Returns a table with aligned columns, one line for each row.

    Args:
        rows: cells of each row; the first row may be a header.
        left: number of columns, from the first on, that are aligned to the left; the others are aligned to the right.

    Example:
        >>> from hamgan.text_table import text_table
        >>> print(text_table([("class", "IoU"), ("cat", "91.50")], left=1))
        class    IoU
        cat    91.50
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
