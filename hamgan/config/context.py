"""Configs of context modules: their base class, and Hamburger's."""

import dataclasses
from typing import ClassVar

from hamgan.architecture import (
    BASES_SOURCES,
    HAM_GRADIENTS,
    HAM_NAMES,
    HAM_SETTINGS,
    HAMBURGER_VERSIONS,
    SEGMENTATION_VERSIONS,
)
from hamgan.config.fields import FromDataset, require, require_fractions, require_one_of, require_positive


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """A context module of a network; subclasses add the settings of their module.

    Example:
        >>> from hamgan.config import CONTEXT_CONFIGS, ContextConfig
        >>> issubclass(CONTEXT_CONFIGS["hamburger"], ContextConfig)
        True
    """

    module: str = ""
    """Name of the module."""
    resolution: FromDataset[int] = 32
    """Height and width of the feature maps that the module processes, the output of a block."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        name = type(self).module or None  # The default of a subclass names its module.
        require(self.module == name, f"module must be '{name}' in a {type(self).__name__}, found '{self.module}'")

    @property
    def differs_in_training(self) -> bool:
        """Whether training and evaluation differ beyond statistics of batch normalisation and singular vectors."""
        return False


@dataclasses.dataclass(frozen=True)
class HamConfig(ContextConfig):
    """A context module around a ham; the fields are arguments of the layer of the same name."""

    versions: ClassVar[tuple[str, ...]]
    ham: str = "nmf"
    """Matrix decomposition: "nmf", "cd" (concept decomposition) or "vq" (vector quantisation)."""
    version: str = "v1"
    """Order of the layers: "v1" or "v2"."""
    latent_dim: int = 256
    """Number of channels D of each section."""
    rank: int = 32
    """Number of bases R."""
    num_steps: int = 6
    """Number of iterations K."""
    num_sections: int = 1
    """Number of sections S, which are decomposed independently."""
    evaluation_steps: int | None = None
    """Number of iterations K outside training; None means ``num_steps``."""
    gradient: str = "one_step"
    """Part of the iterations that is differentiated: "one_step" (the last update) or "unrolled" (all)."""
    inverse_temperature: float | None = None
    """Factor of the scores inside the softmax; "cd" and "vq" only. None means 100."""
    ridge: float | None = None
    """Weight of the identity in the ridge regression; "cd" only. None means 0.01, in "segmentation_hamburger" 0.1."""
    bases: str = "random"
    """Source of initial bases in training: "random" for each image, "fixed" or "running" (a moving average)."""
    evaluation_bases: str = "random"
    """Source of initial bases outside training, one of the same."""
    bases_momentum: float = 0.1
    """Decay of running bases."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "ham", HAM_NAMES)
        require_one_of(self, "version", self.versions)
        require_one_of(self, "gradient", HAM_GRADIENTS)
        require_one_of(self, "bases", BASES_SOURCES)
        require_one_of(self, "evaluation_bases", BASES_SOURCES)
        require_positive(self, "latent_dim", "rank", "num_steps", "num_sections", "evaluation_steps")
        for name in ("inverse_temperature", "ridge"):
            value = getattr(self, name)
            hams = [ham for ham, settings in HAM_SETTINGS.items() if name in settings]
            require(
                value is None or self.ham in hams,
                f"{name} needs ham={' or '.join(hams)}, found {value} with ham={self.ham}; leave it out",
            )
            require_positive(self, name)
        require_fractions(self, "bases_momentum")
        # Training passes random bases to the networks, and given bases do not move the running ones.
        require(
            self.evaluation_bases != "running" or self.bases != "random",
            "evaluation_bases=running needs bases=running or bases=fixed, found bases=random",
        )

    @property
    def differs_in_training(self) -> bool:
        """Whether the bases or the number of steps depend on the mode."""
        return (self.bases, self.evaluation_bases, self.evaluation_steps) != ("random", "random", None)


@dataclasses.dataclass(frozen=True)
class HamburgerConfig(HamConfig):
    """A Hamburger; see :class:`hamgan.layers.Hamburger`.

    Example:
        >>> from hamgan.config import HamburgerConfig
        >>> HamburgerConfig(ham="cd", rank=16).num_steps
        6
    """

    versions: ClassVar[tuple[str, ...]] = HAMBURGER_VERSIONS
    module: str = "hamburger"


@dataclasses.dataclass(frozen=True)
class SegmentationHamburgerConfig(HamConfig):
    """The branch of a segmentation network's Hamburger; see :class:`hamgan.layers.SegmentationContext`.

    Example:
        >>> from hamgan.config import SegmentationHamburgerConfig
        >>> SegmentationHamburgerConfig(version="v1").module
        'segmentation_hamburger'
    """

    versions: ClassVar[tuple[str, ...]] = SEGMENTATION_VERSIONS
    module: str = "segmentation_hamburger"
    version: str = "v2"
    """Order of the layers: "v1", "v2" or "v2plus"."""
    cheese_factor: int | None = None
    """Divisor of the width of the cheese; "v2plus" only."""
    spectral_norm: bool = True
    """Whether kernels are divided by their spectral norm."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "cheese_factor")
        require(
            self.cheese_factor is None or self.version == "v2plus",
            f"cheese_factor needs version=v2plus, found {self.cheese_factor} with version={self.version}; leave it out",
        )
