"""Paths that TensorFlow would take for patterns."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

from hamgan.errors import UserError

_SPECIAL = frozenset("*?[\\")


def is_pattern(path: str) -> bool:
    """Whether TensorFlow may take a path for a pattern, such as ``runs/hinge[1]``."""
    return not _SPECIAL.isdisjoint(path)


def check_remote(path: str) -> None:
    """Checks that a path in a bucket is no pattern; a local one may be: see :func:`literal_path`.

    Raises:
        UserError: it is one.
    """
    if "://" in path and is_pattern(path):
        raise UserError(
            f"{path}: TensorFlow cannot read names in a bucket that contain * ? [ or \\; choose another name"
        )


@contextlib.contextmanager
def literal_path(path: str) -> Iterator[str]:
    """Yields a path of the same files that TensorFlow does not take for a pattern.

    TensorFlow looks for checkpoints and the variables of SavedModels by pattern: what is in a folder named ``hinge[1]``
    is not found, or that of ``hinge1`` is. Symbolic links in a temporary folder give such files another name.

    Args:
        path: path of a file or folder, or of a checkpoint without suffix; local or ``gs://``.

    Raises:
        UserError: the path is a pattern and in a bucket.
        OSError: the links cannot be made.
    """
    check_remote(path)
    if not is_pattern(path):
        yield path
        return
    folder, name = os.path.split(os.path.abspath(path))
    with tempfile.TemporaryDirectory(prefix="hamgan-") as links:
        if is_pattern(links):
            raise UserError(f"TMPDIR is {os.path.dirname(links)}, which TensorFlow takes for a pattern; set another")
        literal = os.path.join(links, "literal")
        for entry in os.listdir(folder):
            if entry == name or entry.startswith(f"{name}."):
                os.symlink(os.path.join(folder, entry), literal + entry.removeprefix(name))
        yield literal
