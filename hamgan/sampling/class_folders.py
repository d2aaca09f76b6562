"""Names of folders for classes."""

import collections
import re
import unicodedata
from collections.abc import Collection, Sequence

from hamgan.sampling.imagenet_names import readable_names

_LONGEST_BYTES = 120
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f"#%*/:<>?[\\\]|]|^[. ~-]|[. ]$|[\ud800-\udfff]')
"""Characters that a system, a shell or TensorFlow would not take as part of a name."""


def class_folders(class_names: Sequence[str], *, reserved: Collection[str] = ()) -> list[str]:
    """Returns a folder name for each class: its readable name, where possible as it is.

    Characters that do not belong in file names are percent-encoded, as in URLs. Names that are reserved or equal, at
    least on systems that ignore case, and names that are too long or empty end in ``#`` and the label.

    Example:
        >>> from hamgan.sampling.class_folders import class_folders
        >>> class_folders(["7", "a/b", "Rose", "rose", "n02123045"])
        ['7', 'a%2Fb', 'Rose #2', 'rose #3', 'tabby']
    """
    encoded = [_UNSAFE.sub(_percent, name) for name in readable_names(class_names)]
    shortened = [name.encode()[:_LONGEST_BYTES].decode(errors="ignore").rstrip(". ") for name in encoded]
    uses = collections.Counter(map(_folded, (*shortened, *reserved)))
    return [
        short if short and short == name and uses[_folded(short)] == 1 else f"{short} #{label}".strip()
        for label, (name, short) in enumerate(zip(encoded, shortened, strict=True))
    ]


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass"))


def _folded(name: str) -> str:
    """Returns what equal names have in common on systems that ignore case and Unicode forms."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
