"""Typed config of an experiment with a segmentation network, validated on construction."""

import dataclasses

from hamgan.architecture import (
    BASES_SOURCES,
    HAM_FORMS,
    HAM_GRADIENTS,
    HAM_NAMES,
    HAM_SETTINGS,
    LOGIT_COMBINATIONS,
    MSCANS,
    OUTPUT_STRIDES,
    RESNETS,
    SEGMENTATION_VERSIONS,
)
from hamgan.config.fields import (
    FROM_DATASET,
    FromDataset,
    require,
    require_fractions,
    require_one_of,
    require_positive,
)
from hamgan.config.schema import DataConfig
from hamgan.config.segmentation_training import CropConfig, SegmentationTrainConfig
from hamgan.config.variants import Variants, register_variants

SEGMENTATION = "segmentation"
"""Task of these experiments; configs of GANs name no task."""


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """The backbone; subclasses add the settings of their network.

    Example:
        >>> from hamgan.config import BackboneConfig, ResNetConfig
        >>> issubclass(ResNetConfig, BackboneConfig)
        True
    """

    kind: str = ""
    """Kind of backbone: "resnet" or "mscan"."""
    depths: tuple[int, ...] | None = None
    """Number of blocks in each of the four stages; None means those of the variant."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require(
            self.depths is None or (len(self.depths) == 4 and min(self.depths) > 0),
            f"depths must be four positive numbers, such as 3,4,6,3, found {self.depths}",
        )


@dataclasses.dataclass(frozen=True)
class ResNetConfig(BackboneConfig):
    """A dilated ResNet; see :class:`hamgan.segmentation.ResNet`.

    Example:
        >>> from hamgan.config import ResNetConfig
        >>> ResNetConfig(variant="resnet50").output_stride
        8
    """

    kind: str = "resnet"
    variant: str = "resnet101"
    """Published network: "resnet50", "resnet101" or "resnet152"."""
    output_stride: int = 8
    """Stride of the last stage."""
    base_channels: int = 64
    """Width of the first stage's bottlenecks."""
    batch_norm_momentum: float = 0.9997
    """Decay of the moving averages of batch normalisation; the published one suits tens of thousands of steps."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "variant", RESNETS)
        require(self.output_stride in OUTPUT_STRIDES, f"output_stride must be 8 or 16, found {self.output_stride}")
        require_positive(self, "base_channels")
        require_fractions(self, "batch_norm_momentum")


@dataclasses.dataclass(frozen=True)
class MSCANConfig(BackboneConfig):
    """MSCAN, the backbone of SegNeXt; see :class:`hamgan.segmentation.MSCAN`.

    Example:
        >>> from hamgan.config import MSCANConfig
        >>> MSCANConfig(variant="base").kind
        'mscan'
    """

    kind: str = "mscan"
    variant: str = "tiny"
    """Published network: "tiny", "small", "base" or "large"."""
    widths: tuple[int, ...] | None = None
    """Number of channels of each of the four stages; None means those of the variant."""
    drop_rate: float | None = None
    """Probability of dropping a branch of the last block in training; None means that of the variant."""
    batch_norm_momentum: float = 0.9
    """Decay of the moving averages of batch normalisation."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "variant", MSCANS)
        require(
            self.widths is None or (len(self.widths) == 4 and min(self.widths) > 0),
            f"widths must be four positive numbers, found {self.widths}",
        )
        require_fractions(self, "batch_norm_momentum", *(() if self.drop_rate is None else ("drop_rate",)))


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """The head; subclasses add the settings of their layers.

    Example:
        >>> from hamgan.config import HamNetHeadConfig, HeadConfig
        >>> issubclass(HamNetHeadConfig, HeadConfig)
        True
    """

    kind: str = ""
    """Kind of head: "hamnet", "light_ham" or "ham"."""
    rank: int = 64
    """Number of bases R. A published checkpoint does not show it."""
    num_steps: int = 6
    """Number of iterations K."""
    evaluation_steps: int | None = None
    """Number of iterations K outside training; None means ``num_steps``."""
    gradient: str = "one_step"
    """Part of the iterations that is differentiated: "one_step" or "unrolled"."""
    bases: str = "random"
    """Source of initial bases in training: "random" for each image, "fixed" or "running"."""
    evaluation_bases: str = "fixed"
    """Source of initial bases outside training."""
    dropout_rate: float = 0.1
    """Probability of dropping a channel before the classifier in training."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        require_positive(self, "rank", "num_steps", "evaluation_steps")
        require_one_of(self, "gradient", HAM_GRADIENTS)
        require_one_of(self, "bases", BASES_SOURCES)
        require_one_of(self, "evaluation_bases", BASES_SOURCES)
        require_fractions(self, "dropout_rate")


@dataclasses.dataclass(frozen=True)
class HamNetHeadConfig(HeadConfig):
    """The head of HamNet; see :class:`hamgan.segmentation.HamNet`.

    Example:
        >>> from hamgan.config import HamNetHeadConfig
        >>> HamNetHeadConfig(version="v2plus", rank=512).channels
        512
    """

    kind: str = "hamnet"
    version: str | None = "v2"
    """Version of the Hamburger block; None leaves the block out, for comparison."""
    channels: int = 512
    """Number of channels C before and after the block."""
    align_channels: int = 256
    """Number of channels before the classifier."""
    latent_dim: int | None = None
    """Number of channels D of each section; None means ``channels`` divided by ``num_sections``."""
    num_sections: int = 1
    """Number of sections S, which are decomposed independently."""
    ham: str = "nmf"
    """Matrix decomposition: "nmf", "cd" (concept decomposition) or "vq" (vector quantisation)."""
    form: str = "spatial"
    """What is decomposed: "spatial", "channel" or, with "v2plus", "dual"."""
    cheese_factor: int | None = None
    """Divisor of the width of the cheese; "v2plus" only."""
    zero_ham: bool = True
    """Whether the scale of the branch starts at 0; "v2plus" only."""
    inverse_temperature: float | None = None
    """Factor of the scores inside the softmax; "cd" and "vq" only. None means 100."""
    ridge: float | None = None
    """Weight of the identity in the ridge regression; "cd" only. None means 0.1."""
    bases_momentum: float = 0.1
    """Decay of running bases."""
    batch_norm_momentum: float = 0.9997
    """Decay of the moving averages of batch normalisation."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require(
            self.version is None or self.version in SEGMENTATION_VERSIONS,
            f"version must be none or one of {', '.join(SEGMENTATION_VERSIONS)}, found '{self.version}'",
        )
        require_one_of(self, "ham", HAM_NAMES)
        require_one_of(self, "form", HAM_FORMS)
        require_positive(
            self,
            *("channels", "align_channels", "latent_dim", "num_sections", "cheese_factor"),
            *("inverse_temperature", "ridge"),
        )
        require(
            self.version == "v2plus" or (self.form != "dual" and self.cheese_factor is None),
            f"form=dual and cheese_factor need version=v2plus, found version={self.version}",
        )
        require(
            self.form == "spatial" or "running" not in (self.bases, self.evaluation_bases),
            f"running bases need form=spatial, found form={self.form}",
        )
        for name in ("inverse_temperature", "ridge"):
            hams = [ham for ham, settings in HAM_SETTINGS.items() if name in settings]
            require(
                getattr(self, name) is None or self.ham in hams,
                f"{name} needs ham={' or '.join(hams)}, found ham={self.ham}; leave it out",
            )
        require_fractions(self, "bases_momentum", "batch_norm_momentum")


@dataclasses.dataclass(frozen=True)
class GroupNormHeadConfig(HeadConfig):
    """What the heads with NMF and group normalisation share."""

    channels: int = 512
    """Number of channels before the classifier."""
    ham_channels: int | None = None
    """Number of channels of the Hamburger; None means ``channels``."""
    groups: int = 32
    """Number of groups of the group normalisation, a divisor of the numbers of channels."""
    evaluation_steps: int | None = 7
    gradient: str = "unrolled"

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "channels", "ham_channels", "groups")
        for name in ("channels", "ham_channels"):
            value = getattr(self, name)
            require(
                value is None or value % self.groups == 0,
                f"{name} must be a multiple of groups={self.groups}, found {value}",
            )


@dataclasses.dataclass(frozen=True)
class LightHamHeadConfig(GroupNormHeadConfig):
    """The head of SegNeXt; see :class:`hamgan.segmentation.LightHamHead`.

    Example:
        >>> from hamgan.config import LightHamHeadConfig
        >>> LightHamHeadConfig(channels=256, rank=16).gradient
        'unrolled'
    """

    kind: str = "light_ham"


@dataclasses.dataclass(frozen=True)
class HamHeadConfig(GroupNormHeadConfig):
    """The head of HamNet on ADE20K; see :class:`hamgan.segmentation.HamHead`.

    Example:
        >>> from hamgan.config import HamHeadConfig
        >>> HamHeadConfig(concat=True).kind
        'ham'
    """

    kind: str = "ham"
    concat: bool = False
    """Whether to concatenate the inputs after ``align`` (HamNet+)."""


register_variants(BackboneConfig, Variants("kind", "kind of backbone", {"resnet": ResNetConfig, "mscan": MSCANConfig}))
register_variants(
    HeadConfig,
    Variants(
        "kind", "kind of head", {"hamnet": HamNetHeadConfig, "light_ham": LightHamHeadConfig, "ham": HamHeadConfig}
    ),
)


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
