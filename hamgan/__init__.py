"""HamGAN: class-conditional GANs with matrix decomposition (Hamburger) as global context.

``import hamgan`` is fast: TensorFlow is loaded when something first needs it.

Example:
    >>> import hamgan
    >>> run = hamgan.load("runs/digits")
    >>> run.sample(classes=["3", 7], per_class=2, seed=1, truncation=0.7).shape
    (4, 32, 32, 3)
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

__all__ = ["Run", "__version__", "evaluate", "explore", "layers", "load", "nearest_training_images", "score"]

if TYPE_CHECKING:
    from hamgan import layers
    from hamgan.evaluation.evaluate import evaluate
    from hamgan.evaluation.memorization import nearest_training_images
    from hamgan.evaluation.score_images import score
    from hamgan.explorer.page import explore
    from hamgan.sampling.trained import Run
    from hamgan.segmentation.trained import load

_HOMES = {
    "Run": "hamgan.sampling.trained",
    "evaluate": "hamgan.evaluation.evaluate",
    "explore": "hamgan.explorer.page",
    "load": "hamgan.segmentation.trained",
    "nearest_training_images": "hamgan.evaluation.memorization",
    "score": "hamgan.evaluation.score_images",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    if name == "layers":
        return importlib.import_module("hamgan.layers")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hamgan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
