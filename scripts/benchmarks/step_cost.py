"""FLOP of a training step by formula, for the networks as written and for each form of the convolutions.

Counts the convolutions in FLOP (two per multiply-add), for one image of the batch: one update of each network. Context
modules, normalisation and elementwise operations are excluded; they are about 2 % of a step.
"""

import dataclasses
import itertools

from hamgan.architecture import SMALLEST_FEATURE_MAP, discriminator_stages, generator_stages
from hamgan.config import ModelConfig

PRODUCTS_PER_36 = {
    "plain": {"up": 36, "down": 36, None: 36},
    "strided": {"up": 16, "down": 16, None: 36},
    "products": {"up": 9, "down": 9, None: 16},
}
"""Multiplications per four pixels of the larger image, of 36 for the 3x3 convolution as written (plain)."""


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution of a network."""

    name: str
    size: int
    """Height and width of the larger image: after upsampling, before pooling."""
    kernel_size: int
    in_channels: int
    out_channels: int
    resampling: str | None

    @property
    def flops_as_written(self) -> float:
        """FLOP of the forward pass as in the paper, with the convolution at the larger size."""
        return 2.0 * self.size**2 * self.kernel_size**2 * self.in_channels * self.out_channels

    def flops(self, form: str) -> float:
        """Returns the FLOP of the forward pass in a form of hamgan/layers/convolution; "auto" as on a CPU."""
        if form == "auto":
            form = self.form_on_cpu()
        if self.kernel_size == 1:
            is_commuted = form == "products" and self.resampling is not None
            return self.flops_as_written / (4 if is_commuted else 1)
        return self.flops_as_written * PRODUCTS_PER_36[form][self.resampling] / 36

    def form_on_cpu(self) -> str:
        """Returns the form that "auto" chooses on a CPU."""
        from hamgan.layers.convolution.choice import cpu_form

        return cpu_form(self.kernel_size, self.in_channels, self.out_channels, self.resampling)  # type: ignore[arg-type]


def generator_convolutions(model: ModelConfig) -> list[Convolution]:
    """Returns the convolutions of the generator in order, without context modules."""
    channels = model.generator.base_channels
    stages = [(size, width * channels) for size, width in generator_stages(model.resolution)]
    found = []
    for block, ((_, inputs), (size, outputs)) in enumerate(itertools.pairwise(stages), start=1):
        found += [
            Convolution(f"block{block}/conv1", size, 3, inputs, outputs, "up"),
            Convolution(f"block{block}/conv2", size, 3, outputs, outputs, None),
            Convolution(f"block{block}/shortcut", size, 1, inputs, outputs, "up"),
        ]
    return [*found, Convolution("to_rgb", model.resolution, 3, channels, 3, None)]


def discriminator_convolutions(model: ModelConfig) -> list[Convolution]:
    """Returns the convolutions of the discriminator in order, without context modules."""
    channels = model.discriminator.base_channels
    stages = [(2 * size, width * channels) for size, width in discriminator_stages(model.resolution)]
    found, inputs = [], 3
    for block, (size, outputs) in enumerate(stages, start=1):
        found += [
            Convolution(f"block{block}/conv1", size, 3, inputs, outputs, None),
            Convolution(f"block{block}/conv2", size, 3, outputs, outputs, "down"),
            Convolution(f"block{block}/shortcut", size, 1, inputs, outputs, "down"),
        ]
        inputs = outputs
    last = f"block{len(stages) + 1}"
    return [
        *found,
        *(Convolution(f"{last}/{name}", SMALLEST_FEATURE_MAP, 3, inputs, inputs, None) for name in ("conv1", "conv2")),
    ]


def step_flops(model: ModelConfig, form: str = "plain") -> float:
    """Returns the FLOP of a training step per image of the batch: one update of each network.

    The generator runs forward twice and backward once. The discriminator runs forward on three images, backward to
    weights and images on two, and backward to the images on one. The gradients of weights and images each take as many
    FLOP as the forward pass.

    Args:
        model: config of the networks.
        form: "plain" (as written), "strided", "products" or "auto".
    """

    def count(convolutions: list[Convolution]) -> list[float]:
        return [convolution.flops(form) for convolution in convolutions]

    generator, discriminator = generator_convolutions(model), discriminator_convolutions(model)
    # The discriminator update needs no gradient of the images.
    unneeded = [c for c in discriminator if c.name in ("block1/conv1", "block1/shortcut")]
    return 4 * sum(count(generator)) + 8 * sum(count(discriminator)) - 2 * sum(count(unneeded))
