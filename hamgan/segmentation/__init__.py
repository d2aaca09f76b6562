"""Semantic segmentation with Hamburger: HamNet and SegNeXt, their backbones and heads, as Keras models and layers.

Modules beside these networks have data, augmentation, prediction and scores. They do not load the networks.
"""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["MSCAN", "HamHead", "HamNet", "HamNetHead", "LightHamHead", "ResNet", "SegNeXt", "SegmentationNetwork"]

if TYPE_CHECKING:
    from hamgan.segmentation.networks.ham_heads import HamHead, LightHamHead
    from hamgan.segmentation.networks.hamnet import HamNet
    from hamgan.segmentation.networks.hamnet_head import HamNetHead
    from hamgan.segmentation.networks.mscan import MSCAN
    from hamgan.segmentation.networks.network import SegmentationNetwork
    from hamgan.segmentation.networks.resnet import ResNet
    from hamgan.segmentation.networks.segnext import SegNeXt

_HOMES = {
    "HamHead": "networks.ham_heads",
    "HamNet": "networks.hamnet",
    "HamNetHead": "networks.hamnet_head",
    "LightHamHead": "networks.ham_heads",
    "MSCAN": "networks.mscan",
    "ResNet": "networks.resnet",
    "SegNeXt": "networks.segnext",
    "SegmentationNetwork": "networks.network",
}


def __getattr__(name: str) -> Any:
    """Loads a network when it is first used (PEP 562), because preparing data does not need Keras."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"hamgan.segmentation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'hamgan.segmentation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
