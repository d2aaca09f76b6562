"""Semantic segmentation with Hamburger: HamNet and SegNeXt, their backbones and heads, as Keras models and layers.

Modules beside these networks have data, augmentation, prediction and scores. They do not load the networks.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["MSCAN", "HamHead", "HamNet", "HamNetHead", "LightHamHead", "ResNet", "SegNeXt", "SegmentationNetwork"]

if TYPE_CHECKING:
    from hamgan.segmentation.ham_heads import HamHead, LightHamHead
    from hamgan.segmentation.hamnet import HamNet
    from hamgan.segmentation.hamnet_head import HamNetHead
    from hamgan.segmentation.mscan import MSCAN
    from hamgan.segmentation.network import SegmentationNetwork
    from hamgan.segmentation.resnet import ResNet
    from hamgan.segmentation.segnext import SegNeXt

_HOMES = {
    "HamHead": "ham_heads",
    "HamNet": "hamnet",
    "HamNetHead": "hamnet_head",
    "LightHamHead": "ham_heads",
    "MSCAN": "mscan",
    "ResNet": "resnet",
    "SegNeXt": "segnext",
    "SegmentationNetwork": "network",
}


def __getattr__(name: str) -> Any:
    """Loads a network when it is first used (PEP 562), because preparing data does not need Keras."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hamgan.segmentation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hamgan.segmentation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
