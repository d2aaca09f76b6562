"""The exported files of a generator, and a table of them."""

import dataclasses
from collections.abc import Sequence

HEADER = ("format", "file", "MB", "largest difference", "ms/image, batch 1", "ms/image, batch 8")


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An exported and verified file.

    Attributes:
        format: title of the format.
        file: name of the file or folder, in the exported folder.
        bytes: size.
        difference: largest difference from the images of the Keras model, for images in [-1, 1].
        seconds_per_image: CPU time per image in seconds, by batch size.
    """

    format: str
    file: str
    bytes: int
    difference: float
    seconds_per_image: dict[int, float]

    def cells(self) -> tuple[str, ...]:
        """Returns the row of the table."""
        times = (f"{1000 * seconds:.2f}" for seconds in self.seconds_per_image.values())
        return (self.format, self.file, f"{self.bytes / 1e6:.2f}", f"{self.difference:.1e}", *times)


def table(exported: Sequence[ExportedFile]) -> str:
    """Returns an aligned text table."""
    rows = [HEADER, *(each.cells() for each in exported)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
