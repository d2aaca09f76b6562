"""Configs of the heads of segmentation networks."""

import dataclasses

from hamgan.architecture import BASES_SOURCES, HAM_FORMS, HAM_GRADIENTS, HAM_NAMES, HAM_SETTINGS, SEGMENTATION_VERSIONS
from hamgan.config.fields import require, require_fractions, require_one_of, require_positive
from hamgan.config.variants import Variants, register_variants


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


register_variants(
    HeadConfig,
    Variants(
        "kind", "kind of head", {"hamnet": HamNetHeadConfig, "light_ham": LightHamHeadConfig, "ham": HamHeadConfig}
    ),
)
