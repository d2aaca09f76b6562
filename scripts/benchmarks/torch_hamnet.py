"""HamNet-101 as PyTorch modules, with the operations of the published network, to compare its time with ours.

Weights are random. The structure is that of :class:`hamgan.segmentation.HamNet`: a ResNet-101 with a deep stem and
output stride 8, the V2 block with NMF, and logits at the size of the image.
"""

import torch
from torch import nn
from torch.nn import functional

DEPTHS = (3, 4, 23, 3)
STRIDES = (1, 2, 1, 1)
DILATIONS = ((1,) * 3, (1,) * 4, (1, *(2,) * 22), (2, 8, 16))
RANK = 64
NUM_STEPS = 6
EPSILON = 1e-6


def convolution(inputs: int, outputs: int, size: int, *, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """Returns a convolution and a batch normalisation."""
    padding = dilation * (size // 2)
    return [
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int, *, is_first: bool) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *convolution(inputs, width, 1),
            nn.ReLU(inplace=True),
            *convolution(width, width, 3, stride=stride, dilation=dilation),
            nn.ReLU(inplace=True),
            *convolution(width, 4 * width, 1),
        )
        self.shortcut = nn.Sequential(*(convolution(inputs, 4 * width, 1, stride=stride) if is_first else []))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns relu(branch + shortcut)."""
        return functional.relu(self.branch(inputs) + self.shortcut(inputs), inplace=True)


class V2(nn.Module):
    """The Hamburger block V2 with NMF."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lower = nn.Conv2d(channels, channels, 1)
        self.cheese = nn.Sequential(*convolution(channels, channels, 1), nn.ReLU(inplace=True))
        self.upper = nn.Conv2d(channels, channels, 1, bias=False)
        self.bases = nn.Parameter(functional.normalize(torch.rand(1, channels, RANK), dim=1), requires_grad=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Returns relu(inputs + branch)."""
        hidden = functional.relu(self.lower(inputs))
        context = self.decomposition(hidden.flatten(2)).view_as(hidden)
        return functional.relu(inputs + self.upper(self.cheese(context)))

    def decomposition(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the low-rank approximation of a matrix of shape (batch, channels, positions)."""
        bases = self.bases.expand(len(x), -1, -1)
        codes = functional.softmax(x.transpose(1, 2) @ bases, dim=-1)
        for step in range(NUM_STEPS + 1):
            codes = codes * (x.transpose(1, 2) @ bases) / (codes @ (bases.transpose(1, 2) @ bases) + EPSILON)
            if step < NUM_STEPS:
                bases = bases * (x @ codes) / (bases @ (codes.transpose(1, 2) @ codes) + EPSILON)
        return bases @ codes.transpose(1, 2)


class HamNet(nn.Module):
    """The whole network, from images of shape (batch, 3, height, width) to logits of their size."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 64, 2), (64, 64, 1), (64, 128, 1)):
            layers += [*convolution(inputs, outputs, 3, stride=stride), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        channels = 128
        for stage, (depth, stride) in enumerate(zip(DEPTHS, STRIDES, strict=True)):
            width = 64 * 2**stage
            for block in range(depth):
                is_first = block == 0
                dilation = DILATIONS[stage][block]
                layers.append(Bottleneck(channels, width, stride if is_first else 1, dilation, is_first=is_first))
                channels = 4 * width
        layers += [*convolution(channels, 512, 3), nn.ReLU(inplace=True), V2(512)]
        layers += [*convolution(512, 256, 3), nn.ReLU(inplace=True), nn.Conv2d(256, num_classes, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits of each pixel."""
        logits = self.layers(images)
        return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=True)
