"""Config of the optimisation of segmentation networks: training and augmentation."""

import dataclasses

from hamgan.config.fields import require, require_fractions, require_one_of, require_positive
from hamgan.config.loop import LoopConfig

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("poly", "constant")


@dataclasses.dataclass(frozen=True)
class SegmentationTrainConfig(LoopConfig):
    """Optimisation of a segmentation network, logging and checkpoints.

    Example:
        >>> from hamgan.config import SegmentationTrainConfig
        >>> SegmentationTrainConfig(optimizer="adamw", learning_rate=1e-3).global_batch
        16
    """

    global_batch: int = 16
    steps: int = 60_000
    optimizer: str = "sgd"
    """Optimizer: "sgd" (PyTorch's momentum, as HamNet) or "adamw" (as SegNeXt)."""
    learning_rate: float = 9e-3
    """Learning rate at its highest."""
    weight_decay: float = 1e-4
    """Weight decay: of kernels ("sgd"), or of all weights without "norm" in their published name ("adamw")."""
    momentum: float = 0.9
    """Momentum of "sgd"."""
    bias_factor: float = 2.0
    """Factor of the learning rate of biases and offsets; "sgd" only."""
    head_factor: float = 1.0
    """Factor of the learning rate of the head."""
    adam_beta1: float = 0.9
    """Decay of the mean of gradients; "adamw" only."""
    adam_beta2: float = 0.999
    """Decay of the mean of squared gradients; "adamw" only."""
    adam_epsilon: float = 1e-8
    """Constant added to the denominator of Adam's update; "adamw" only."""
    schedule: str = "poly"
    """Learning rate over time: "poly", which is (1 - i / steps)^power at iteration i, or "constant"."""
    power: float = 0.9
    """Exponent of "poly"; 1 is a linear schedule."""
    decay_every: int = 10
    """Number of iterations between changes of the learning rate by "poly"."""
    warmup_steps: int = 0
    """Number of steps in which the learning rate rises linearly from ``warmup_factor`` times its value."""
    warmup_factor: float = 1e-6
    """Share of the learning rate in the first step of the warm-up."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "optimizer", OPTIMIZERS)
        require_one_of(self, "schedule", SCHEDULES)
        require_positive(self, "learning_rate", "bias_factor", "head_factor", "adam_epsilon", "power", "decay_every")
        require_fractions(self, "momentum", "adam_beta1", "adam_beta2")
        for name in ("weight_decay", "warmup_steps", "warmup_factor"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, found {value}")


@dataclasses.dataclass(frozen=True)
class CropConfig:
    """Random augmentation of training images: scaling, cropping, flipping and colors.

    See :mod:`hamgan.segmentation.data.augmentation`.

    Example:
        >>> from hamgan.config import CropConfig
        >>> CropConfig(crop=257, flip=False).any_ratio
        False
    """

    crop: int = 513
    """Height and width of the images that the network is trained on, in pixels."""
    ratios: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    """Ratios of scaling, equally likely."""
    any_ratio: bool = False
    """Whether to draw any ratio between the first and the last of ``ratios``, instead of one of them."""
    short_side: int | None = None
    """Height or width, whichever is smaller, of an image with ratio 1; None leaves images at their size."""
    align_corners: bool = True
    """Whether images are scaled with aligned corners, as for HamNet, or with half-pixel centers, as for SegNeXt."""
    max_class_share: float | None = None
    """Share of a crop's labeled pixels that each class must stay below; otherwise, up to ten more crops are drawn.

    None accepts the first crop.
    """
    flip: bool = True
    """Whether to flip half of the images horizontally."""
    color: bool = False
    """Whether to change brightness, contrast, saturation and hue, as SegNeXt does."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require_positive(self, "crop", "short_side")
        require(
            bool(self.ratios) and min(self.ratios) > 0,
            f"ratios must be positive numbers, such as 0.5,1,2, found {self.ratios}",
        )
        require(
            self.max_class_share is None or 0 < self.max_class_share < 1,
            f"max_class_share must be none or between 0 and 1, such as 0.75, found {self.max_class_share}",
        )
