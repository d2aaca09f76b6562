"""Semantic segmentation with Hamburger: HamNet and SegNeXt, their backbones and heads, as Keras models and layers."""

from hamgan.segmentation.ham_heads import HamHead, LightHamHead
from hamgan.segmentation.mscan import MSCAN
from hamgan.segmentation.network import SegmentationNetwork
from hamgan.segmentation.resnet import ResNet
from hamgan.segmentation.segnext import SegNeXt

__all__ = ["MSCAN", "HamHead", "LightHamHead", "ResNet", "SegNeXt", "SegmentationNetwork"]
