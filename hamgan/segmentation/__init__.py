"""Semantic segmentation with Hamburger: HamNet and SegNeXt, their backbones and heads, as Keras models and layers.

Modules beside these networks have data, augmentation, prediction and scores.
"""

from hamgan.segmentation.ham_heads import HamHead, LightHamHead
from hamgan.segmentation.hamnet import HamNet
from hamgan.segmentation.hamnet_head import HamNetHead
from hamgan.segmentation.mscan import MSCAN
from hamgan.segmentation.network import SegmentationNetwork
from hamgan.segmentation.resnet import ResNet
from hamgan.segmentation.segnext import SegNeXt

__all__ = ["MSCAN", "HamHead", "HamNet", "HamNetHead", "LightHamHead", "ResNet", "SegNeXt", "SegmentationNetwork"]
