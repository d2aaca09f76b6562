"""Names and layouts of weights in the published checkpoints of HamNet, SegNeXt and their backbones."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from hamgan.layers.segmentation_hamburger import SegmentationHamburger
from hamgan.segmentation.networks.ham_heads import ConvolutionGroupNorm, HamHead, LightHamHead
from hamgan.segmentation.networks.hamnet_head import ConvolutionBatchNorm, HamNetHead
from hamgan.segmentation.networks.light_hamburger import LightHamburger
from hamgan.segmentation.networks.mscan import MSCAN
from hamgan.segmentation.networks.mscan_block import MSCANBlock
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.resnet import Bottleneck, ResNet

Layout = Literal["as it is", "kernel", "depthwise kernel", "scalar"]
"""Difference between a published tensor and ours: none, the order of axes, or a shape of (1,)."""
_TO_OURS = {"kernel": (2, 3, 1, 0), "depthwise kernel": (2, 3, 0, 1)}
_TO_OFFICIAL = {"kernel": (3, 2, 0, 1), "depthwise kernel": (2, 3, 0, 1)}


@dataclasses.dataclass(frozen=True)
class OfficialTensor:
    """A tensor of a published checkpoint and the variable of ours that has its values.

    Args:
        variable: variable of a Keras model.
        layout: difference between their shapes.
    """

    variable: keras.Variable
    layout: Layout = "as it is"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the published tensor."""
        shape = tuple(self.variable.shape)
        if self.layout == "scalar":
            return (1,)
        return tuple(shape[axis] for axis in _TO_OFFICIAL[self.layout]) if self.layout in _TO_OFFICIAL else shape

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        """Converts a published array to the shape of the variable."""
        if self.layout == "scalar":
            return array.reshape(())
        return array.transpose(_TO_OURS[self.layout]) if self.layout in _TO_OURS else array

    def to_official(self, array: np.ndarray) -> np.ndarray:
        """Converts a value of the variable to the published shape."""
        if self.layout == "scalar":
            return array.reshape((1,))
        return array.transpose(_TO_OFFICIAL[self.layout]) if self.layout in _TO_OFFICIAL else array


Named = Iterator[tuple[str, OfficialTensor]]


class NameForm(NamedTuple):
    """Names that one code base gives to the tensors of a model.

    Args:
        source: the code base.
        tensors: tensors by name.
    """

    source: str
    tensors: dict[str, OfficialTensor]


def name_forms(model: keras.Model) -> list[NameForm]:
    """Returns the published names of a model's weights, one form for each code base, the original one first.

    Fixed bases, which determine evaluation here and do not exist in published checkpoints, have no name.

    Args:
        model: :class:`hamgan.segmentation.ResNet`, :class:`hamgan.segmentation.MSCAN`, or a
            :class:`hamgan.segmentation.SegmentationNetwork` of these and a head of this package.

    Raises:
        ValueError: if no published checkpoint has such weights.

    Example:
        >>> from hamgan.segmentation import ResNet
        >>> from hamgan.segmentation.published.names import name_forms
        >>> forms = name_forms(ResNet(depths=(1, 1, 1, 1), base_channels=4))
        >>> [form.source for form in forms], list(forms[0].tensors)[0]
        (['PyTorch-Encoding', 'mmsegmentation', 'HamNet'], 'conv1.0.weight')
    """
    if not isinstance(model, SegmentationNetwork):
        return [NameForm(source, dict(walk(model, ""))) for source, walk in _backbone_walks(model).items()]
    head_source, head_prefix, walk_head = _head_walk(model.head)
    forms = []
    for source, walk in _backbone_walks(model.backbone).items():
        if (source == "HamNet") == (head_source == "HamNet") and source != "PyTorch-Encoding":
            named = {**dict(walk(model.backbone, "backbone.")), **dict(walk_head(model.head, head_prefix))}
            forms.append(NameForm(source, named))
    if not forms:
        raise ValueError(
            f"no published network combines {type(model.backbone).__name__} and {type(model.head).__name__}"
        )
    return forms


def head_tensors(head: keras.Layer) -> dict[str, OfficialTensor]:
    """Returns the weights of a built head by their published names, without a prefix.

    Args:
        head: head of this package.

    Raises:
        ValueError: if the head has no published names.
    """
    _source, _prefix, walk = _head_walk(head)
    return dict(walk(head, ""))


def _backbone_walks(backbone: keras.Model) -> dict[str, Callable[[Any, str], Named]]:
    """Returns a function that names the weights of a backbone for each code base."""
    if isinstance(backbone, ResNet):
        return {source: names.walk for source, names in _RESNET_NAMES.items()}
    if isinstance(backbone, MSCAN):
        return {"SegNeXt": _mscan, "mmsegmentation": _renamed_mscan}
    raise ValueError(f"{type(backbone).__name__} has no published names; expected ResNet or MSCAN")


def _head_walk(head: Any) -> tuple[str, str, Callable[[Any, str], Named]]:
    """Returns the code base, the prefix and the function that names the weights of a head."""
    if isinstance(head, HamNetHead) and (head.context is None or isinstance(head.context, SegmentationHamburger)):
        return "HamNet", "", _hamnet_head
    if isinstance(head, LightHamHead):
        return "SegNeXt", "decode_head.", _light_ham_head
    if isinstance(head, HamHead):
        return "SegNeXt", "decode_head.", _ham_head
    raise ValueError(f"{type(head).__name__} has no published names")


def _conv(prefix: str, conv: Any) -> Named:
    yield f"{prefix}.weight", OfficialTensor(conv.kernel, "kernel")
    if conv.use_bias:
        yield f"{prefix}.bias", OfficialTensor(conv.bias)


def _depthwise(prefix: str, conv: Any) -> Named:
    yield f"{prefix}.weight", OfficialTensor(conv.kernel, "depthwise kernel")
    yield f"{prefix}.bias", OfficialTensor(conv.bias)


def _affine(prefix: str, norm: Any) -> Named:
    yield f"{prefix}.weight", OfficialTensor(norm.gamma)
    yield f"{prefix}.bias", OfficialTensor(norm.beta)


def _batch_norm(prefix: str, norm: Any) -> Named:
    yield from _affine(prefix, norm)
    yield f"{prefix}.running_mean", OfficialTensor(norm.moving_mean)
    yield f"{prefix}.running_var", OfficialTensor(norm.moving_variance)


@dataclasses.dataclass(frozen=True)
class _ResNetNames:
    """Names of the parts of a ResNet.

    Args:
        convs: the stem's convolutions.
        norms: the stem's batch normalisations.
        stages: the stages.
    """

    convs: tuple[str, ...]
    norms: tuple[str, ...]
    stages: tuple[str, ...]

    def walk(self, backbone: ResNet, prefix: str) -> Named:
        for (conv, norm), conv_name, norm_name in zip(backbone.stem, self.convs, self.norms, strict=True):
            yield from _conv(f"{prefix}{conv_name}", conv)
            yield from _batch_norm(f"{prefix}{norm_name}", norm)
        for stage, blocks in zip(self.stages, backbone.stages, strict=True):
            for index, block in enumerate(blocks):
                yield from _bottleneck(f"{prefix}{stage}.{index}", block)


_LAYERS = ("layer1", "layer2", "layer3", "layer4")
_RESNET_NAMES = {
    "PyTorch-Encoding": _ResNetNames(("conv1.0", "conv1.3", "conv1.6"), ("conv1.1", "conv1.4", "bn1"), _LAYERS),
    "mmsegmentation": _ResNetNames(("stem.0", "stem.3", "stem.6"), ("stem.1", "stem.4", "stem.7"), _LAYERS),
    "HamNet": _ResNetNames(("0.0", "0.3", "0.6"), ("0.1", "0.4", "1"), ("4", "5", "6", "7")),
}


def _bottleneck(prefix: str, block: Bottleneck) -> Named:
    for index in (1, 2, 3):
        yield from _conv(f"{prefix}.conv{index}", getattr(block, f"conv{index}"))
        yield from _batch_norm(f"{prefix}.bn{index}", getattr(block, f"norm{index}"))
    if block.has_projection:
        yield from _conv(f"{prefix}.downsample.0", block.projection)
        yield from _batch_norm(f"{prefix}.downsample.1", block.projection_norm)


def _mscan(backbone: MSCAN, prefix: str) -> Named:
    for (conv, norm), index in zip(backbone.stem, (0, 3), strict=True):
        yield from _conv(f"{prefix}patch_embed1.proj.{index}", conv)
        yield from _batch_norm(f"{prefix}patch_embed1.proj.{index + 1}", norm)
    for stage, (conv, norm) in enumerate(backbone.downsamplings, start=2):
        yield from _conv(f"{prefix}patch_embed{stage}.proj", conv)
        yield from _batch_norm(f"{prefix}patch_embed{stage}.norm", norm)
    for stage, (blocks, layer_norm) in enumerate(zip(backbone.stages, backbone.norms, strict=True), start=1):
        for index, block in enumerate(blocks):
            yield from _mscan_block(f"{prefix}block{stage}.{index}", block)
        yield from _affine(f"{prefix}norm{stage}", layer_norm)


def _renamed_mscan(backbone: MSCAN, prefix: str) -> Named:
    for name, tensor in _mscan(backbone, prefix):
        yield name.replace(".dwconv.dwconv.", ".dwconv."), tensor


def _mscan_block(prefix: str, block: MSCANBlock) -> Named:
    yield f"{prefix}.layer_scale_1", OfficialTensor(block.scale1)
    yield f"{prefix}.layer_scale_2", OfficialTensor(block.scale2)
    yield from _batch_norm(f"{prefix}.norm1", block.norm1)
    yield from _batch_norm(f"{prefix}.norm2", block.norm2)
    attention, gate = block.attention, f"{prefix}.attn.spatial_gating_unit"
    yield from _conv(f"{prefix}.attn.proj_1", attention.project_in)
    yield from _depthwise(f"{gate}.conv0", attention.local)
    for index, (row, column) in enumerate(attention.strips):
        yield from _depthwise(f"{gate}.conv{index}_1", row)
        yield from _depthwise(f"{gate}.conv{index}_2", column)
    yield from _conv(f"{gate}.conv3", attention.mix)
    yield from _conv(f"{prefix}.attn.proj_2", attention.project_out)
    yield from _conv(f"{prefix}.mlp.fc1", block.mlp.expand)
    yield from _depthwise(f"{prefix}.mlp.dwconv.dwconv", block.mlp.depthwise)
    yield from _conv(f"{prefix}.mlp.fc2", block.mlp.reduce)


def _hamnet_head(head: HamNetHead, prefix: str) -> Named:
    yield from _conv_batch_norm(f"{prefix}squeeze", head.squeeze)
    if head.context is not None:
        yield from _hamburger(f"{prefix}hamburger", head.context)
    yield from _conv_batch_norm(f"{prefix}align", head.align)
    yield from _conv(f"{prefix}fc.1", head.classifier)


def _conv_batch_norm(prefix: str, layer: ConvolutionBatchNorm) -> Named:
    yield from _conv(f"{prefix}.conv", layer.conv)
    yield from _batch_norm(f"{prefix}.bn", layer.norm)


def _hamburger(prefix: str, block: SegmentationHamburger) -> Named:
    # With NMF, relu follows in the same sequence.
    yield from _conv(f"{prefix}.lower_bread{'.0' if block.ham_name == 'nmf' else ''}", block.lower_bread)
    if block.version == "v1":
        yield from _conv(f"{prefix}.upper_bread.0", block.upper_bread)
        yield from _batch_norm(f"{prefix}.upper_bread.1", block.normalization)
    else:
        yield from _conv(f"{prefix}.cheese.conv", block.cheese)
        yield from _batch_norm(f"{prefix}.cheese.bn", block.normalization)
        yield from _conv(f"{prefix}.upper_bread", block.upper_bread)
    if block.version == "v2plus":
        yield f"{prefix}.coef_shortcut", OfficialTensor(block.shortcut_scale, "scalar")
        yield f"{prefix}.coef_ham", OfficialTensor(block.ham_scale, "scalar")
    if block.spatial_ham is not None and block.spatial_ham.running_bases is not None:
        yield f"{prefix}.ham.bases", OfficialTensor(block.spatial_ham.running_bases)


def _light_ham_head(head: LightHamHead, prefix: str) -> Named:
    yield from _squeeze_and_align(head, prefix)
    yield from _light_hamburger(f"{prefix}hamburger.", head.hamburger)


def _ham_head(head: HamHead, prefix: str) -> Named:
    yield from _squeeze_and_align(head, prefix)
    yield from _light_hamburger(prefix, head.hamburger)
    if head.fuse is not None:
        yield from _conv_group_norm(f"{prefix}conv_cat", head.fuse)


def _squeeze_and_align(head: LightHamHead | HamHead, prefix: str) -> Named:
    yield from _conv(f"{prefix}conv_seg", head.classifier)
    yield from _conv_group_norm(f"{prefix}squeeze", head.squeeze)
    yield from _conv_group_norm(f"{prefix}align", head.align)


def _conv_group_norm(prefix: str, layer: ConvolutionGroupNorm) -> Named:
    yield from _conv(f"{prefix}.conv", layer.conv)
    yield from _affine(f"{prefix}.gn", layer.norm)


def _light_hamburger(prefix: str, hamburger: LightHamburger) -> Named:
    yield from _conv(f"{prefix}ham_in.conv", hamburger.lower_bread)
    yield from _conv(f"{prefix}ham_out.conv", hamburger.upper_bread)
    yield from _affine(f"{prefix}ham_out.gn", hamburger.normalization)
