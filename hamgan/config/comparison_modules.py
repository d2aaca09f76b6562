"""Configs of the context modules to compare with Hamburger."""

import dataclasses

from hamgan.architecture import EM_GRADIENTS, GLOBAL_CONTEXT_FUSIONS, GLOBAL_CONTEXT_POOLINGS, NON_LOCAL_MODES
from hamgan.config.context import ContextConfig
from hamgan.config.fields import require, require_fractions, require_one_of, require_positive


@dataclasses.dataclass(frozen=True)
class SelfAttentionConfig(ContextConfig):
    """Self-attention; see :class:`hamgan.layers.SelfAttention`.

    Example:
        >>> from hamgan.config import SelfAttentionConfig
        >>> SelfAttentionConfig(resolution=16).module
        'self_attention'
    """

    module: str = "self_attention"


@dataclasses.dataclass(frozen=True)
class ResidualContextConfig(ContextConfig):
    """What the modules to compare with Hamburger share; fields are arguments of the layer of the same name."""

    spectral_norm: bool = True
    """Whether kernels are divided by their spectral norm, as in Hamburger."""


@dataclasses.dataclass(frozen=True)
class NonLocalConfig(ResidualContextConfig):
    """A non-local block; see :class:`hamgan.layers.NonLocal`.

    Example:
        >>> from hamgan.config import NonLocalConfig
        >>> NonLocalConfig(mode="gaussian").module
        'non_local'
    """

    module: str = "non_local"
    mode: str = "embedded_gaussian"
    """Similarity of positions: "gaussian", "embedded_gaussian" or "dot_product"."""
    reduction: int = 2
    """Divisor of the number of channels inside."""
    use_scale: bool = True
    """Whether to divide the scores by the square root of their channels; False only in mode "embedded_gaussian"."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_one_of(self, "mode", NON_LOCAL_MODES)
        require(
            self.use_scale or self.mode == "embedded_gaussian",
            f"use_scale=false goes with mode=embedded_gaussian, found '{self.mode}'",
        )
        require_positive(self, "reduction")


@dataclasses.dataclass(frozen=True)
class MultiHeadAttentionConfig(ResidualContextConfig):
    """Multi-head attention over positions; see :class:`hamgan.layers.MultiHeadAttention`.

    Example:
        >>> from hamgan.config import MultiHeadAttentionConfig
        >>> MultiHeadAttentionConfig(num_heads=4).module
        'multi_head_attention'
    """

    module: str = "multi_head_attention"
    num_heads: int = 8
    """Number of heads, a divisor of the number of channels."""
    use_bias: bool = False
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_heads")


@dataclasses.dataclass(frozen=True)
class DoubleAttentionConfig(ResidualContextConfig):
    """Double attention; see :class:`hamgan.layers.DoubleAttention`.

    Example:
        >>> from hamgan.config import DoubleAttentionConfig
        >>> DoubleAttentionConfig(attention_channels=16).module
        'double_attention'
    """

    module: str = "double_attention"
    feature_channels: int | None = None
    """Number of channels of the features that are gathered; None means a quarter of the channels."""
    attention_channels: int | None = None
    """Number of attention maps; None means a quarter of the channels."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "feature_channels", "attention_channels")


@dataclasses.dataclass(frozen=True)
class EfficientAttentionConfig(ResidualContextConfig):
    """Efficient attention; see :class:`hamgan.layers.EfficientAttention`.

    Example:
        >>> from hamgan.config import EfficientAttentionConfig
        >>> EfficientAttentionConfig(key_channels=32, value_channels=32).module
        'efficient_attention'
    """

    module: str = "efficient_attention"
    key_channels: int | None = None
    """Number of channels of keys and queries, a multiple of ``num_heads``; None means half of the channels."""
    value_channels: int | None = None
    """Number of channels of values, a multiple of ``num_heads``; None means half of the channels."""
    num_heads: int = 1
    """Number of heads."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "key_channels", "value_channels", "num_heads")


@dataclasses.dataclass(frozen=True)
class CrissCrossAttentionConfig(ResidualContextConfig):
    """Criss-cross attention; see :class:`hamgan.layers.CrissCrossAttention`.

    Example:
        >>> from hamgan.config import CrissCrossAttentionConfig
        >>> CrissCrossAttentionConfig(recurrence=1).module
        'criss_cross_attention'
    """

    module: str = "criss_cross_attention"
    recurrence: int = 2
    """Number of passes; after one, positions see their row and column only."""
    reduction: int = 8
    """Divisor of the number of channels of queries and keys."""
    use_bias: bool = True
    """Whether the convolutions have a bias."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "recurrence", "reduction")


@dataclasses.dataclass(frozen=True)
class ChannelAttentionConfig(ResidualContextConfig):
    """DANet's channel attention; see :class:`hamgan.layers.ChannelAttention`.

    Example:
        >>> from hamgan.config import ChannelAttentionConfig
        >>> ChannelAttentionConfig(resolution=16).module
        'channel_attention'
    """

    module: str = "channel_attention"


@dataclasses.dataclass(frozen=True)
class EMAttentionConfig(ResidualContextConfig):
    """Expectation-maximisation attention; the fields are arguments of :class:`hamgan.layers.EMAttention`.

    Example:
        >>> from hamgan.config import EMAttentionConfig
        >>> EMAttentionConfig(num_bases=16).module
        'em_attention'
    """

    module: str = "em_attention"
    num_bases: int = 64
    """Number of bases."""
    num_steps: int = 3
    """Number of iterations."""
    bases_momentum: float = 0.9
    """Decay of the running bases."""
    gradient: str = "none"
    """Part of the iterations that is differentiated: "none" (as published), "one_step" (the last) or "unrolled"
    (all)."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_bases", "num_steps")
        require_fractions(self, "bases_momentum")
        require_one_of(self, "gradient", EM_GRADIENTS)

    @property
    def differs_in_training(self) -> bool:
        """Whether training updates the bases."""
        return True


@dataclasses.dataclass(frozen=True)
class ExternalAttentionConfig(ResidualContextConfig):
    """External attention; the fields are arguments of :class:`hamgan.layers.ExternalAttention`.

    Example:
        >>> from hamgan.config import ExternalAttentionConfig
        >>> ExternalAttentionConfig(num_memories=16).module
        'external_attention'
    """

    module: str = "external_attention"
    num_memories: int = 64
    """Number of memory slots."""
    convolutions: bool = True
    """Whether there are 1x1 convolutions before and after the memories."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "num_memories")


@dataclasses.dataclass(frozen=True)
class GlobalContextConfig(ResidualContextConfig):
    """A global context block; the fields are arguments of :class:`hamgan.layers.GlobalContext`.

    Example:
        >>> from hamgan.config import GlobalContextConfig
        >>> GlobalContextConfig(pooling="average").module
        'global_context'
    """

    module: str = "global_context"
    reduction: int = 4
    """Divisor of the number of channels between the layers of a transform."""
    pooling: str = "attention"
    """Weights of the positions: "attention" or "average" (all the same)."""
    fusion: str = "add"
    """Use of the context: "add", "mul" or "both"."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "reduction")
        require_one_of(self, "pooling", GLOBAL_CONTEXT_POOLINGS)
        require_one_of(self, "fusion", GLOBAL_CONTEXT_FUSIONS)


@dataclasses.dataclass(frozen=True)
class PyramidPoolingConfig(ResidualContextConfig):
    """Pyramid pooling; see :class:`hamgan.layers.PyramidPooling`.

    Example:
        >>> from hamgan.config import PyramidPoolingConfig
        >>> PyramidPoolingConfig(branch_channels=16).module
        'pyramid_pooling'
    """

    module: str = "pyramid_pooling"
    branch_channels: int | None = None
    """Number of channels of a branch; None means a quarter of the channels."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "branch_channels")


@dataclasses.dataclass(frozen=True)
class SqueezeExcitationConfig(ResidualContextConfig):
    """Squeeze-and-excitation; the fields are arguments of :class:`hamgan.layers.SqueezeExcitation`.

    Example:
        >>> from hamgan.config import SqueezeExcitationConfig
        >>> SqueezeExcitationConfig(reduction=4).module
        'squeeze_excitation'
    """

    module: str = "squeeze_excitation"
    reduction: int = 16
    """Divisor of the number of channels between the two layers."""

    def __post_init__(self) -> None:
        """Validates the fields."""
        super().__post_init__()
        require_positive(self, "reduction")
