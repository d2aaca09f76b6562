"""The networks and backbones of published checkpoints, by name."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from hamgan.errors import UserError, did_you_mean
from hamgan.segmentation.networks.ham_heads import HamHead
from hamgan.segmentation.networks.hamnet import HamNet
from hamgan.segmentation.networks.mscan import MSCAN, MSCANS
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.normalization import MSCAN_NORM_MOMENTUM
from hamgan.segmentation.networks.resnet import RESNETS, ResNet
from hamgan.segmentation.networks.segnext import SegNeXt

_VERSIONS: dict[str, dict[str, Any]] = {
    "v1": {"version": "v1"},
    "v2": {"version": "v2"},
    # The released models.
    "v2plus": {"version": "v2plus", "rank": 512, "cheese_factor": 1},
}
_CLASSIFIERS = ("fc.1.bias", "decode_head.conv_seg.bias")
"""Names of the classifiers' biases, whose shape is the number of classes."""


def _ham_head_network(
    variant: str, *, num_classes: int, concat: bool, rank: int = 64, num_steps: int = 6, evaluation_steps: int = 7
) -> SegmentationNetwork:
    """Returns the authors' network for ADE20K: a ResNet of mmsegmentation and a HamHead."""
    backbone = ResNet(variant, stem_channels=(32, 32, 64), multi_grid=(1,), batch_norm_momentum=MSCAN_NORM_MOMENTUM)
    head = HamHead(
        num_classes, concat=concat, rank=rank, num_steps=num_steps, evaluation_steps=evaluation_steps, name="head"
    )
    return SegmentationNetwork(backbone, head, stages=(-1,), align_corners=False, name="hamnet")


_NO_SETTINGS = ("num_classes", "name", "dtype", "version", "concat")
"""Arguments that the name of the network determines, or the number of classes."""

NETWORKS: Mapping[str, Callable[..., keras.Model]] = {
    **{
        f"hamnet_{variant}_{version}": functools.partial(HamNet, variant, **arguments)
        for variant in RESNETS
        for version, arguments in _VERSIONS.items()
    },
    **{
        f"{name}_{variant}": functools.partial(_ham_head_network, variant, concat=concat)
        for name, concat in (("hamnet_ade20k", False), ("hamnet_plus_ade20k", True))
        for variant in RESNETS
    },
    **{f"segnext_{variant}": functools.partial(SegNeXt, variant) for variant in MSCANS},
    **{variant: functools.partial(ResNet, variant) for variant in RESNETS},
    **{f"mscan_{variant}": functools.partial(MSCAN, variant) for variant in MSCANS},
}
"""Function that creates each network (with ``num_classes``) or backbone."""


def build_published(name: str, *, num_classes: int | None = None, **arguments: Any) -> keras.Model:
    """Creates a published network or backbone.

    Args:
        name: element of ``NETWORKS``.
        num_classes: number of classes; backbones have none.
        arguments: further arguments of the constructor, such as ``rank``, which checkpoints do not show.

    Raises:
        UserError: the name or an argument is unknown, or an argument is out of range.

    Example:
        >>> from hamgan.segmentation.published.published_networks import build_published
        >>> build_published("segnext_tiny", num_classes=150, rank=8).head.hamburger.ham.rank
        8
    """
    build = NETWORKS.get(name)
    if build is None:
        raise UserError(f"networks are {', '.join(NETWORKS)}, found '{name}'{did_you_mean(name, NETWORKS)}")
    known = [
        parameter.name
        for parameter in inspect.signature(build).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _NO_SETTINGS
    ]
    for argument in arguments:
        if argument not in known:
            raise UserError(
                f"settings of {name} are {', '.join(known)}, found '{argument}'{did_you_mean(argument, known)}"
            )
    if has_classes(name):
        if num_classes is None:
            raise UserError(f"expected the number of classes of {name}, found none; give it")
        arguments["num_classes"] = num_classes
    try:
        return build(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {error}") from error


def has_classes(name: str) -> bool:
    """Whether a published network has a classifier; backbones have none."""
    return "num_classes" in inspect.signature(NETWORKS[name]).parameters


def classes_of_weights(arrays: Mapping[str, np.ndarray]) -> int | None:
    """Returns the number of classes of a checkpoint, or None if it has no classifier of segmentation."""
    return next((len(arrays[name]) for name in _CLASSIFIERS if name in arrays and arrays[name].ndim == 1), None)
