"""What the formats of all exported models have in common."""

import abc
import importlib.util
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from hamgan.errors import UserError, did_you_mean

Format = TypeVar("Format", bound="FileFormat")


class FileFormat(abc.ABC):
    """A format of exported models.

    Attributes:
        title: name of the format in tables.
        file_name: name of the exported file or folder.
        packages: packages, beyond those of hamgan, that writing and verification import.
        extra: optional dependency of hamgan that installs the packages.
    """

    title: ClassVar[str]
    file_name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def check_packages(self) -> None:
        """Checks that the packages are installed.

        Raises:
            UserError: if one is missing; the message names the extra.
        """
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(
                f"{self.title} needs the packages {', '.join(self.packages)}, found no {', '.join(missing)}; "
                f"pip install 'hamgan[{self.extra}]'"
            )


def formats_by_name(names: Sequence[str], formats: Mapping[str, Format]) -> list[Format]:
    """Returns formats without repetitions.

    Args:
        names: names of the formats to choose.
        formats: all formats by name.

    Raises:
        UserError: if there are no names, or one is unknown.
    """
    unknown = [name for name in names if name not in formats]
    if unknown or not names:
        found = f"'{unknown[0]}'" if unknown else "none"
        hint = did_you_mean(unknown[0], formats) if unknown else ""
        raise UserError(f"formats are {', '.join(formats)}, found {found}{hint}")
    return [formats[name] for name in dict.fromkeys(names)]
