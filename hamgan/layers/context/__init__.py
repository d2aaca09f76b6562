"""Context modules: layers that add global context to images. :class:`hamgan.layers.Hamburger` is one too."""

from hamgan.layers.context.module import ContextModule
from hamgan.layers.context.residual import ResidualContext
from hamgan.layers.context.self_attention import SelfAttention

__all__ = [
    "ContextModule",
    "ResidualContext",
    "SelfAttention",
]
