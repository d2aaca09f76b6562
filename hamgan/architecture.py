"""Resolutions, widths and variants of the networks, available without importing TensorFlow.

At 128x128, the widths are the published ones. Other resolutions follow the same rule.
"""

from collections.abc import Sequence

HAM_SETTINGS = {
    "nmf": ("rectify", "normalize_bases"),
    "cd": ("inverse_temperature", "ridge"),
    "vq": ("inverse_temperature",),
}
"""The hams, and the names of the settings that are specific to each."""
HAM_NAMES = tuple(HAM_SETTINGS)
HAM_GRADIENTS = ("one_step", "unrolled")
"""Parts of the computation of a ham that can be differentiated."""
BASES_SOURCES = ("random", "fixed", "running")
"""Sources of the initial bases of a ham."""
HAMBURGER_VERSIONS = ("v1", "v2")
SEGMENTATION_VERSIONS = ("v1", "v2", "v2plus")
HAM_FORMS = ("spatial", "channel", "dual")
RESNETS = ("resnet50", "resnet101", "resnet152")
MSCANS = ("tiny", "small", "base", "large")
OUTPUT_STRIDES = (8, 16)
"""Strides of the last stage of a dilated ResNet."""
LOGIT_COMBINATIONS = ("logits", "probabilities")
"""Ways to combine the logits of several scales: their sum (HamNet), or the mean of the softmax (SegNeXt)."""
EM_GRADIENTS = ("none", "one_step", "unrolled")
"""Parts of the iterations of expectation-maximisation attention that can be differentiated."""
GLOBAL_CONTEXT_POOLINGS = ("attention", "average")
GLOBAL_CONTEXT_FUSIONS = ("add", "mul", "both")
NON_LOCAL_MODES = ("gaussian", "embedded_gaussian", "dot_product")
CONVOLUTION_FORMS = ("auto", "plain", "strided", "products")
"""Algorithms for convolutions with resampling, see :mod:`hamgan.layers.convolution`."""

RESOLUTIONS = (32, 64, 128, 256)
CHANNELS = (1, 3)
"""Numbers of channels of images: gray or RGB."""
SMALLEST_FEATURE_MAP = 4
MAX_MULTIPLIER = 16


def generator_stages(resolution: int) -> list[tuple[int, int]]:
    """Returns (feature map size, multiple of base_channels) of the first block's input and of each block's output.

    The multiple is 1 at full resolution, and doubles each time that the size halves, up to 16.
    """
    sizes = _powers_of_two(SMALLEST_FEATURE_MAP, resolution)
    return [(size, min(MAX_MULTIPLIER, resolution // size)) for size in sizes]


def discriminator_stages(resolution: int) -> list[tuple[int, int]]:
    """Returns (feature map size, multiple of base_channels) of each pooling block's output, largest size first."""
    sizes = reversed(_powers_of_two(SMALLEST_FEATURE_MAP, resolution // 2))
    return [(size, min(MAX_MULTIPLIER, resolution // 2 // size)) for size in sizes]


def _powers_of_two(smallest: int, largest: int) -> list[int]:
    sizes = [smallest]
    while sizes[-1] < largest:
        sizes.append(2 * sizes[-1])
    return sizes


def check_resolution(resolution: int) -> None:
    """Raises ValueError unless the networks support ``resolution``."""
    if resolution not in RESOLUTIONS:
        raise ValueError(f"resolution must be one of {RESOLUTIONS}, received {resolution}")


def check_channels(channels: int) -> None:
    """Raises ValueError unless images can have this number of channels."""
    if channels not in CHANNELS:
        raise ValueError(f"channels must be 1 (gray) or 3 (RGB), received {channels}")


def check_context_resolution(resolution: int, sizes: Sequence[int]) -> None:
    """Raises ValueError unless ``resolution`` is among the sizes of a network's feature maps."""
    if resolution not in sizes:
        raise ValueError(f"context resolution must be one of {list(sizes)}, received {resolution}")
