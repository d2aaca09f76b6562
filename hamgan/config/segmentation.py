"""Typed config of an experiment with a segmentation network, validated on construction."""

import dataclasses

from hamgan.architecture import LOGIT_COMBINATIONS
from hamgan.config.fields import FROM_DATASET, FromDataset, require, require_one_of, require_positive
from hamgan.config.schema import DataConfig
from hamgan.config.segmentation_backbones import BackboneConfig, ResNetConfig
from hamgan.config.segmentation_heads import HamNetHeadConfig, HeadConfig
from hamgan.config.segmentation_training import CropConfig, SegmentationTrainConfig

SEGMENTATION = "segmentation"
"""Task of these experiments; configs of GANs name no task."""


@dataclasses.dataclass(frozen=True)
class SegmentationModelConfig:
    """The network.

    Example:
        >>> from hamgan.config import MSCANConfig, LightHamHeadConfig, SegmentationModelConfig
        >>> SegmentationModelConfig(num_classes=150, backbone=MSCANConfig(), head=LightHamHeadConfig()).head.kind
        'light_ham'
    """

    num_classes: FromDataset[int] = 21
    """Number of classes."""
    backbone: BackboneConfig = ResNetConfig()
    """The backbone."""
    head: HeadConfig = HamNetHeadConfig()
    """The head."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        if self.num_classes is not FROM_DATASET:
            require_positive(self, "num_classes")


@dataclasses.dataclass(frozen=True)
class SegmentationEvaluationConfig:
    """How whole images are segmented to score them.

    Example:
        >>> from hamgan.config import SegmentationEvaluationConfig
        >>> SegmentationEvaluationConfig(ratios=(0.5, 1.0, 2.0), flip=True).combination
        'logits'
    """

    ratios: tuple[float, ...] = (1.0,)
    """Ratios of the scales whose logits are combined."""
    flip: bool = False
    """Whether to add the flipped images."""
    combination: str = "logits"
    """Way to combine scales: the sum of "logits" (HamNet) or the mean of "probabilities" (SegNeXt)."""
    short_side: int | None = None
    """Height or width, whichever is smaller, that images are scaled to, as for SegNeXt; None leaves their size."""
    window: int | None = None
    """Height and width of sliding windows in pixels; None segments whole images."""
    window_step: int | None = None
    """Step between windows; None means two thirds of a window."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require(
            bool(self.ratios) and min(self.ratios) > 0,
            f"ratios must be positive numbers, such as 0.5,1,2, found {self.ratios}",
        )
        require_one_of(self, "combination", LOGIT_COMBINATIONS)
        require_positive(self, "short_side", "window", "window_step")
        require(self.window_step is None or self.window is not None, f"window_step={self.window_step} needs a window")


@dataclasses.dataclass(frozen=True)
class SegmentationConfig:
    """The complete config of an experiment with a segmentation network.

    Example:
        >>> from hamgan.config import SegmentationConfig, SegmentationTrainConfig
        >>> SegmentationConfig("short", train=SegmentationTrainConfig(steps=1000)).model.num_classes
        21
    """

    name: str
    """Name of the experiment: that of its preset."""
    task: str = SEGMENTATION
    """Always "segmentation"."""
    model: SegmentationModelConfig = SegmentationModelConfig()
    """The network."""
    data: DataConfig = DataConfig(dataset="voc2012")
    """The data set."""
    augmentation: CropConfig = CropConfig()
    """Augmentation of training images."""
    train: SegmentationTrainConfig = SegmentationTrainConfig()
    """Optimisation, logging and checkpoints."""
    evaluation: SegmentationEvaluationConfig = SegmentationEvaluationConfig()
    """How whole images are segmented to score them."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require(self.task == SEGMENTATION, f"task must be '{SEGMENTATION}', found '{self.task}'")
