"""Config of the optimisation: training, augmentation and regularisation."""

import dataclasses

from hamgan.config.fields import require, require_fractions, require_one_of, require_positive
from hamgan.config.loop import LoopConfig

LABEL_DISTRIBUTIONS = ("uniform", "dataset")


@dataclasses.dataclass(frozen=True)
class TrainConfig(LoopConfig):
    """Optimisation of the GAN, logging and checkpoints.

    Example:
        >>> from hamgan.config import TrainConfig
        >>> TrainConfig(global_batch=64, ema_decay=0.999).generator_learning_rate
        0.0001
    """

    accumulation: int = 1
    """Number of parts into which each replica divides its share of the batch, to save memory. Batch normalisation uses
    the statistics of a part."""
    discriminator_updates: int = 1
    """Number of discriminator updates per step, each with a new batch of real images."""
    generator_updates: int = 1
    """Number of generator updates per step."""
    label_distribution: str = "uniform"
    """Distribution of the random labels of generated images, in training and evaluation: "uniform", or "dataset", in
    proportion to the images of each class in the training split."""
    generator_learning_rate: float = 1e-4
    """Learning rate of the generator."""
    discriminator_learning_rate: float = 4e-4
    """Learning rate of the discriminator."""
    adam_beta1: float = 0.0
    """Decay of Adam's mean of gradients."""
    adam_beta2: float = 0.999
    """Decay of Adam's mean of squared gradients."""
    adam_epsilon: float = 1e-8
    """Constant added to the denominator of Adam's update."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the generator's weights; 0 disables the average."""
    ema_warmup: float = 10.0
    """Warm-up w of the average, to forget the initial weights: the decay at step t is at most (1 + t) / (w + t)."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "label_distribution", LABEL_DISTRIBUTIONS)
        require_positive(
            self,
            *("accumulation", "discriminator_updates", "generator_updates"),
            *("generator_learning_rate", "discriminator_learning_rate", "adam_epsilon"),
        )
        require_fractions(self, "adam_beta1", "adam_beta2", "ema_decay")
        require(self.ema_warmup >= 1, f"ema_warmup must be at least 1, found {self.ema_warmup}")


@dataclasses.dataclass(frozen=True)
class AugmentationConfig:
    """Random augmentation of the images that the discriminator sees; see :mod:`hamgan.data.augmentation`.

    Example:
        >>> from hamgan.config import AugmentationConfig
        >>> AugmentationConfig(flip=True).color
        False
    """

    flip: bool = False
    """Whether to mirror half of the real images. Generated images then have both orientations too."""
    color: bool = False
    """Whether to change brightness, saturation and contrast of real images and fakes (DiffAugment)."""
    translation: bool = False
    """Whether to translate real images and fakes by up to 1/8 of their size (DiffAugment)."""
    cutout: bool = False
    """Whether to cut a square of half the size out of real images and fakes (DiffAugment)."""
    probability: float = 1.0
    """Probability with which DiffAugment changes an image."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require(0 < self.probability <= 1, f"probability must be in (0, 1], found {self.probability}")


@dataclasses.dataclass(frozen=True)
class RegularizationConfig:
    """Penalties in the loss of the discriminator; see :mod:`hamgan.training.penalties`. A weight of 0 disables one.

    Example:
        >>> from hamgan.config import RegularizationConfig
        >>> RegularizationConfig(r1=10.0).r1_interval
        16
    """

    r1: float = 0.0
    """Weight gamma of the R1 gradient penalty on real images."""
    r1_interval: int = 16
    """Number of discriminator updates between penalties. Each then counts this many times."""
    lecam: float = 0.0
    """Weight of LeCam regularisation."""
    lecam_decay: float = 0.99
    """Decay of the moving averages of the logits in LeCam regularisation."""
    consistency_real: float = 0.0
    """Weight of balanced consistency regularisation (bCR) on real images: the logits of translated images are equal,
    and with ``augmentation.flip`` those of mirrored ones."""
    consistency_fake: float = 0.0
    """Weight of balanced consistency regularisation (bCR) on fakes."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        for name in ("r1", "lecam", "consistency_real", "consistency_fake"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, found {value}")
        require_positive(self, "r1_interval")
        require_fractions(self, "lecam_decay")
