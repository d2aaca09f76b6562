"""What a file or folder of samples holds, by the end of its name."""

import os
from typing import Literal

from hamgan.errors import UserError

PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Image format by the end of a file name."""

OutputKind = Literal["picture", "arrays", "folder"]


def output_kind(path: str) -> OutputKind:
    """Returns what to write to a path.

    Args:
        path: path of a picture (``.png``, ``.jpg``, ``.webp``), of arrays (``.npz``), or of a folder, which ends in
            ``/``, has no ending, or exists.

    Raises:
        UserError: if the ending is another one.

    Example:
        >>> from hamgan.sampling.output_kind import output_kind
        >>> [output_kind(path) for path in ("grid.png", "samples.npz", "samples/", "samples")]
        ['picture', 'arrays', 'folder', 'folder']
    """
    ending = os.path.splitext(path)[1].lower()
    if not ending or path.endswith("/") or os.path.isdir(path):
        return "folder"
    if ending == ".npz":
        return "arrays"
    if ending in PICTURE_FORMATS:
        return "picture"
    raise UserError(
        f"{path}: expected a name that ends in {', '.join(PICTURE_FORMATS)} or .npz, or in / for a folder, found "
        f"{ending}; choose another name"
    )
