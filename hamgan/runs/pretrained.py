"""Trained generators that come with the package."""

import os

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pretrained_runs")

PRETRAINED = ("digits",)
"""Names of the trained generators. ``pretrained_runs/`` has the folder of a run for each, with its moving average."""


def find_run(path: str) -> str:
    """Returns the folder of a run: ``path``, or that of a trained generator of this package with this name.

    An existing file or folder ``path`` comes first.

    Args:
        path: folder of a run, or an element of ``PRETRAINED``.

    Example:
        >>> from hamgan.runs.pretrained import find_run
        >>> find_run("runs/flowers")
        'runs/flowers'
    """
    if path in PRETRAINED and not os.path.lexists(path):
        return os.path.join(_FOLDER, path)
    return path
