"""Construction of segmentation networks from a config."""

import dataclasses
from typing import Any

import keras

from hamgan.config import (
    FROM_DATASET,
    BackboneConfig,
    HamNetHeadConfig,
    HeadConfig,
    LightHamHeadConfig,
    MSCANConfig,
    SegmentationConfig,
)
from hamgan.errors import UserError
from hamgan.segmentation.networks.ham_heads import HamHead, LightHamHead
from hamgan.segmentation.networks.hamnet import HamNet
from hamgan.segmentation.networks.head import SegmentationHead
from hamgan.segmentation.networks.mscan import MSCAN
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.resnet import ResNet

NETWORK = "network"
"""Name of the network, with which the names of its variables in checkpoints begin."""


def build_network(config: SegmentationConfig, *, precision: str | None = None) -> SegmentationNetwork:
    """Builds the network of a config.

    Args:
        config: config of the experiment. Its seed determines fixed bases, but not the initial weights.
        precision: Keras dtype policy; None means that of the config.

    Returns:
        :class:`hamgan.segmentation.HamNet` for a head of HamNet, else a
        :class:`hamgan.segmentation.SegmentationNetwork`.

    Raises:
        UserError: if the config leaves the number of classes to the data set, or its settings do not fit together.

    Example:
        >>> from hamgan.config.segmentation_presets import scenes
        >>> from hamgan.segmentation.networks.build import build_network
        >>> build_network(scenes()).name
        'network'
    """
    model = config.model
    if model.num_classes is FROM_DATASET:
        raise UserError(
            "this config takes model.num_classes from the data set, but the network is built without one; override it"
        )
    dtype = config.train.precision if precision is None else precision
    try:
        backbone = _build_backbone(model.backbone, dtype)
        if isinstance(model.head, HamNetHeadConfig):
            return _build_hamnet(model.head, backbone, model.num_classes, config.train.seed, dtype)
        head = _build_head(model.head, model.num_classes, config.train.seed, dtype)
        stages = (2, 3, 4) if isinstance(model.head, LightHamHeadConfig) else (-1,)
        return SegmentationNetwork(backbone, head, stages=stages, align_corners=False, name=NETWORK, dtype=dtype)
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def _build_backbone(config: BackboneConfig, dtype: str) -> keras.Model:
    kind = MSCAN if isinstance(config, MSCANConfig) else ResNet
    return kind(**_arguments(config), dtype=dtype)


def _build_hamnet(
    config: HamNetHeadConfig, backbone: keras.Model, num_classes: int, seed: int, dtype: str
) -> SegmentationNetwork:
    arguments = _arguments(config)
    arguments["head_channels"] = arguments.pop("channels")
    return HamNet(backbone, num_classes=num_classes, seed=seed, name=NETWORK, dtype=dtype, **arguments)


def _build_head(config: HeadConfig, num_classes: int, seed: int, dtype: str) -> SegmentationHead:
    kind = LightHamHead if isinstance(config, LightHamHeadConfig) else HamHead
    return kind(num_classes, **_arguments(config), seed=seed, name="head", dtype=dtype)


def _arguments(config: Any) -> dict[str, Any]:
    """Returns the fields of a config as arguments of the class that it describes."""
    values = dataclasses.asdict(config)
    del values["kind"]
    return values
