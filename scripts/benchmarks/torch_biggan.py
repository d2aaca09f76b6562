"""BigGAN's training step in PyTorch, to compare its time with ours. Written from the paper, with random weights.

The networks are those of the paper at 128x128: hierarchical latent vectors, a shared class embedding, class-conditional
batch normalisation, self-attention, spectral normalisation with one power iteration in both networks, and a projection
discriminator. Widths, losses, optimizers and the number of updates are those of the preset hamgan_strong: one update of
each network per step, without a moving average of the weights. gpu.py measures it on a GPU, train.py on a CPU.

Reference: Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis (ICLR 2019), appendix B.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

RESOLUTION = 128
SMALLEST = 4
NUM_CLASSES = 1000
LATENT_CHUNK = 20
"""Latent dimensions of the dense layer and of each block."""
EMBEDDING_DIM = 128
GENERATOR_WIDTHS = (16, 16, 8, 4, 2, 1)
DISCRIMINATOR_WIDTHS = (1, 2, 4, 8, 16, 16)
"""Multiples of the base channels: before and after the generator's blocks; after the discriminator's."""
BATCH_NORM_EPSILON = 1e-3
BATCH_NORM_MOMENTUM = 1e-3
GENERATOR_LEARNING_RATE = 1e-4
DISCRIMINATOR_LEARNING_RATE = 4e-4
BETAS = (0.0, 0.999)
ADAM_EPSILON = 1e-8


class SpectralNorm(nn.Module):
    """Division of a weight by its largest singular value, estimated by one power iteration in each use."""

    u: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("u", functional.normalize(torch.randn(len(weight)), dim=0))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the normalised weight."""
        # In float32: bfloat16 has too few digits for an estimate that accumulates over steps.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            with torch.no_grad():
                v = functional.normalize(matrix.T @ self.u, dim=0)
                u = functional.normalize(matrix @ v, dim=0)
                self.u.copy_(u)
            return weight / torch.dot(u, matrix @ v)


def normalized(layer: nn.Module) -> nn.Module:
    """Adds spectral normalisation to a layer."""
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight))
    return layer


def convolution(inputs: int, outputs: int, size: int, *, bias: bool = True) -> nn.Module:
    """Returns a spectrally normalised convolution."""
    return normalized(nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias))


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in the condition."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, affine=False)
        self.gain = normalized(nn.Linear(condition_dim, channels, bias=False))
        self.bias = normalized(nn.Linear(condition_dim, channels, bias=False))

    def forward(self, images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Returns (1 + gain) * normalised images + bias."""
        gain, bias = self.gain(condition)[:, :, None, None], self.bias(condition)[:, :, None, None]
        return (1 + gain) * self.norm(images) + bias


class SelfAttention(nn.Module):
    """Self-attention whose keys and values are pooled, as in SAGAN."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = convolution(channels, channels // 8, 1, bias=False)
        self.key = convolution(channels, channels // 8, 1, bias=False)
        self.value = convolution(channels, channels // 2, 1, bias=False)
        self.output = convolution(channels // 2, channels, 1, bias=False)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns images + scale * attention."""
        query = self.query(images).flatten(2)
        key = functional.max_pool2d(self.key(images), 2).flatten(2)
        value = functional.max_pool2d(self.value(images), 2).flatten(2)
        weights = functional.softmax(query.transpose(1, 2) @ key, dim=-1)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, images.shape[2:])
        return images + self.scale * self.output(attended)


class GeneratorBlock(nn.Module):
    """A residual block that doubles the resolution."""

    def __init__(self, inputs: int, outputs: int, condition_dim: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(inputs, condition_dim)
        self.conv1 = convolution(inputs, outputs, 3)
        self.norm2 = ConditionalBatchNorm(outputs, condition_dim)
        self.conv2 = convolution(outputs, outputs, 3)
        self.shortcut = convolution(inputs, outputs, 1)

    def forward(self, images: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Returns images of twice the size."""
        hidden = functional.interpolate(functional.relu(self.norm1(images, condition)), scale_factor=2)
        hidden = functional.relu(self.norm2(self.conv1(hidden), condition))
        return self.conv2(hidden) + self.shortcut(functional.interpolate(images, scale_factor=2))


class Generator(nn.Module):
    """Latent vectors and labels to images.

    Args:
        base_channels: number of channels at full resolution.
        attention_resolution: size of the feature maps with self-attention.
    """

    def __init__(self, base_channels: int, attention_resolution: int) -> None:
        super().__init__()
        widths = [base_channels * width for width in GENERATOR_WIDTHS]
        self.embedding = nn.Embedding(NUM_CLASSES, EMBEDDING_DIM)
        self.dense = normalized(nn.Linear(LATENT_CHUNK, SMALLEST**2 * widths[0]))
        self.blocks, self.attentions = nn.ModuleList(), nn.ModuleList()
        for index, (inputs, outputs) in enumerate(itertools.pairwise(widths), start=1):
            self.blocks.append(GeneratorBlock(inputs, outputs, EMBEDDING_DIM + LATENT_CHUNK))
            is_there = SMALLEST * 2**index == attention_resolution
            self.attentions.append(SelfAttention(outputs) if is_there else nn.Identity())
        self.norm = nn.BatchNorm2d(base_channels, BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM)
        self.to_rgb = convolution(base_channels, 3, 3)

    @property
    def latent_dim(self) -> int:
        """Size of the latent vectors."""
        return LATENT_CHUNK * (1 + len(self.blocks))

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns images in [-1, 1]."""
        first, *chunks = latents.split(LATENT_CHUNK, dim=1)
        embedded = self.embedding(labels)
        images = self.dense(first).unflatten(1, (-1, SMALLEST, SMALLEST))
        for block, attention, chunk in zip(self.blocks, self.attentions, chunks, strict=True):
            images = attention(block(images, torch.cat([embedded, chunk], dim=1)))
        return torch.tanh(self.to_rgb(functional.relu(self.norm(images))))


class DiscriminatorBlock(nn.Module):
    """A residual block, which may halve the resolution; the first of a network does not begin with an activation."""

    def __init__(self, inputs: int, outputs: int, *, is_first: bool, pools: bool) -> None:
        super().__init__()
        self.is_first, self.pools = is_first, pools
        self.conv1 = convolution(inputs, outputs, 3)
        self.conv2 = convolution(outputs, outputs, 3)
        self.shortcut = convolution(inputs, outputs, 1) if pools or inputs != outputs else nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the block's output."""
        hidden = self.conv1(images if self.is_first else functional.relu(images))
        hidden = self.conv2(functional.relu(hidden))
        if not self.pools:
            return hidden + self.shortcut(images)
        if self.is_first:
            shortcut = self.shortcut(functional.avg_pool2d(images, 2))
        else:
            shortcut = functional.avg_pool2d(self.shortcut(images), 2)
        return functional.avg_pool2d(hidden, 2) + shortcut


class Discriminator(nn.Module):
    """Images and labels to logits, by projection.

    Args:
        base_channels: number of channels of the first block.
        attention_resolution: size of the feature maps with self-attention.
    """

    def __init__(self, base_channels: int, attention_resolution: int) -> None:
        super().__init__()
        widths = [3, *(base_channels * width for width in DISCRIMINATOR_WIDTHS)]
        layers: list[nn.Module] = []
        size = RESOLUTION
        for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            pools = size > SMALLEST
            layers.append(DiscriminatorBlock(inputs, outputs, is_first=index == 0, pools=pools))
            if pools:
                size //= 2
                if size == attention_resolution:
                    layers.append(SelfAttention(outputs))
        self.layers = nn.Sequential(*layers)
        self.dense = normalized(nn.Linear(widths[-1], 1))
        self.embedding = normalized(nn.Embedding(NUM_CLASSES, widths[-1]))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns a logit for each image."""
        features = functional.relu(self.layers(images)).sum(dim=(2, 3))
        return self.dense(features)[:, 0] + (self.embedding(labels) * features).sum(dim=1)


class TrainingStep:
    """One update of the discriminator, then one of the generator, on random images.

    Args:
        base_channels: number of channels at full resolution, of both networks.
        attention_resolution: size of the feature maps with self-attention.
        batch: number of real images and of fakes.
        precision: "float32" or "mixed_bfloat16".
        device: device of PyTorch.
        channels_last: whether the memory format of images is channels last.
    """

    def __init__(
        self,
        *,
        base_channels: int,
        attention_resolution: int,
        batch: int,
        precision: str,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        self.batch, self.device = batch, device
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.generator = Generator(base_channels, attention_resolution).to(device, memory_format=memory_format)
        self.discriminator = Discriminator(base_channels, attention_resolution).to(device, memory_format=memory_format)
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(network.parameters(), rate, BETAS, ADAM_EPSILON, fused=device.type == "cuda")
            for network, rate in (
                (self.generator, GENERATOR_LEARNING_RATE),
                (self.discriminator, DISCRIMINATOR_LEARNING_RATE),
            )
        )
        images = 2 * torch.rand(batch, 3, RESOLUTION, RESOLUTION, device=device) - 1
        self.images = images.to(memory_format=memory_format)
        self.labels = torch.randint(NUM_CLASSES, (batch,), device=device)
        self._is_mixed = precision == "mixed_bfloat16"

    def __call__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes one step; returns the losses of both networks."""
        return self._update_discriminator(), self._update_generator()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._is_mixed)

    def _fakes(self) -> tuple[torch.Tensor, torch.Tensor]:
        latents = torch.randn(self.batch, self.generator.latent_dim, device=self.device)
        labels = torch.randint(NUM_CLASSES, (self.batch,), device=self.device)
        return self.generator(latents, labels), labels

    def _update_discriminator(self) -> torch.Tensor:
        with self._autocast():
            with torch.no_grad():
                fakes, labels = self._fakes()
            logits = self.discriminator(torch.cat([self.images, fakes]), torch.cat([self.labels, labels]))
        real, fake = logits.float().chunk(2)
        loss = functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        return loss.detach()

    def _update_generator(self) -> torch.Tensor:
        self.discriminator.requires_grad_(False)
        with self._autocast():
            logits = self.discriminator(*self._fakes())
        loss = -logits.float().mean()
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.generator_optimizer.step()
        self.discriminator.requires_grad_(True)
        return loss.detach()


def count_flops(step: TrainingStep) -> float:
    """Takes a step; returns its FLOP per image, those of matrix products and convolutions."""
    # Not at the top: after TensorFlow, importing this with PyTorch for CUDA ends the process.
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / step.batch
