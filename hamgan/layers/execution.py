"""Execution settings, which do not change what a network computes: target device and convolution form."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Literal

import tensorflow as tf

from hamgan.architecture import CONVOLUTION_FORMS

Target = Literal["cpu", "gpu", "tpu"]


@dataclasses.dataclass(frozen=True)
class _Execution:
    target: Target | None = None
    convolution_form: str = "auto"
    differentiable: bool = True


# Process-wide: strategies trace replicas in threads, which do not see context variables.
_current = _Execution()


@contextlib.contextmanager
def execution(
    *, target: Target | None = None, convolution_form: str | None = None, differentiable: bool | None = None
) -> Iterator[None]:
    """Context manager that sets the target device for tracing and the convolution form of new layers.

    Args:
        target: kind of device to trace functions for, "cpu", "gpu" or "tpu", even if this host has none; None keeps
            the current setting.
        convolution_form: form of convolution for layers that are created inside, one of
            :data:`hamgan.architecture.CONVOLUTION_FORMS`; None keeps the current setting.
        differentiable: whether traced functions have custom gradients. Exported functions need none, and a SavedModel
            that lacks them warns when it is loaded. None keeps the current setting.

    Raises:
        ValueError: if the form is unknown.

    Example:
        >>> from hamgan.layers import SNConv2D
        >>> from hamgan.layers.execution import execution
        >>> with execution(convolution_form="plain"):
        ...     layer = SNConv2D(8, 3)
        >>> layer.form
        'plain'
    """
    global _current
    if convolution_form is not None and convolution_form not in CONVOLUTION_FORMS:
        raise ValueError(f"convolution_form must be one of {CONVOLUTION_FORMS}, received {convolution_form!r}")
    before = _current
    _current = _Execution(
        target or before.target,
        convolution_form or before.convolution_form,
        before.differentiable if differentiable is None else differentiable,
    )
    try:
        yield
    finally:
        _current = before


def target() -> Target:
    """Returns the kind of device that functions are currently traced for."""
    if _current.target is not None:
        return _current.target
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return "tpu"
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


def convolution_form() -> str:
    """Returns the convolution form that new layers use by default."""
    return _current.convolution_form


def is_differentiable() -> bool:
    """Whether functions that are currently traced have custom gradients."""
    return _current.differentiable
