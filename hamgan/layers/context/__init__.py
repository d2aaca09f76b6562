"""Modules that add global context to images, with one contract; :class:`hamgan.layers.Hamburger` is another."""

from hamgan.layers.context.module import ContextModule
from hamgan.layers.context.self_attention import SelfAttention

__all__ = ["ContextModule", "SelfAttention"]
