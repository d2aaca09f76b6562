"""Groups of settings that exist in several variants, each with fields of its own, such as the kinds of backbones."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hamgan.errors import UserError, did_you_mean


class Variants(NamedTuple):
    """The variants of a group of settings.

    Args:
        field: name of the field that holds the name of the variant.
        what: what a variant is, for error messages.
        classes: config class of each variant by name.
    """

    field: str
    what: str
    classes: Mapping[str, type]

    def class_of(self, name: str) -> type:
        """Returns the config class of a variant.

        Raises:
            UserError: if there is none of this name.
        """
        if name not in self.classes:
            hint = did_you_mean(name, self.classes) or f"; expected one of {', '.join(self.classes)}"
            raise UserError(f"unknown {self.what} '{name}'{hint}")
        return self.classes[name]


_VARIANTS: dict[type, Variants] = {}


def register_variants(base: type, variants: Variants) -> None:
    """Registers the variants of a config class, which fields have as their type."""
    _VARIANTS[base] = variants


def variants_of(kind: Any) -> Variants | None:
    """Returns the variants of the type of a field, or None if it has none."""
    return _VARIANTS.get(kind) if isinstance(kind, type) else None
