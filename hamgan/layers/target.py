"""The kind of device that is being traced for: what costs least is not the same everywhere."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Literal

import tensorflow as tf

Target = Literal["cpu", "gpu", "tpu"]

_forced: contextvars.ContextVar[Target | None] = contextvars.ContextVar("target", default=None)


def target() -> Target:
    """Returns the kind of device that what is traced now will run on."""
    forced = _forced.get()
    if forced is not None:
        return forced
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return "tpu"
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


@contextlib.contextmanager
def tracing_for(device: Target) -> Iterator[None]:
    """What is traced inside is for this kind of device, whatever is there."""
    token = _forced.set(device)
    try:
        yield
    finally:
        _forced.reset(token)
