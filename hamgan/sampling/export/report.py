"""The exported files of a generator, and a table of them."""

import dataclasses
from collections.abc import Sequence

from hamgan.text_table import text_table

_HEADER = ("format", "file", "MB", "largest difference")


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An exported and verified file.

    Attributes:
        format: title of the format.
        file: name of the file or folder, in the exported folder.
        bytes: size.
        difference: largest difference from the outputs of the Keras model.
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


def header(exported: Sequence[ExportedFile]) -> tuple[str, ...]:
    """Returns the header of a table of exported files, whose times are for the same batch sizes."""
    return (*_HEADER, *(f"ms/image, batch {batch}" for batch in exported[0].seconds_per_image))


def table(exported: Sequence[ExportedFile]) -> str:
    """Returns an aligned text table."""
    return text_table([header(exported), *(each.cells() for each in exported)], left=2)
