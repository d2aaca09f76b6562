"""How networks are executed, which is no part of their architecture: the device, and the form of convolutions."""

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


# One for the whole process: a strategy traces its replicas in threads that do not see context variables.
_current = _Execution()


@contextlib.contextmanager
def execution(*, target: Target | None = None, convolution_form: str | None = None) -> Iterator[None]:
    """Sets how layers that are created inside, and functions that are traced inside, are executed.

    Args:
        target: kind of device to trace for, whatever devices there are; None leaves the choice as it is.
        convolution_form: form of the convolutions of layers created inside, one of
            :data:`hamgan.architecture.CONVOLUTION_FORMS`; None leaves it as it is.

    Raises:
        ValueError: there is no such form.

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
    _current = _Execution(target or before.target, convolution_form or before.convolution_form)
    try:
        yield
    finally:
        _current = before


def target() -> Target:
    """Returns the kind of device that functions traced now will run on."""
    if _current.target is not None:
        return _current.target
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return "tpu"
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


def convolution_form() -> str:
    """Returns the form of convolutions of a layer created now."""
    return _current.convolution_form
