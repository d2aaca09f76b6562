"""Class masks of whole images of any size: at one scale, at several, flipped, and in sliding windows."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hamgan.architecture import LOGIT_COMBINATIONS
from hamgan.errors import UserError
from hamgan.layers.fixed_bases import decompositions
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.networks.head import feature_shapes
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.prediction.multi_scale import (
    RATIOS,
    REMAINDER,
    STRIDE,
    Network,
    multi_scale_logits,
    single_scale_logits,
)
from hamgan.segmentation.prediction.short_side import short_side_bands
from hamgan.segmentation.prediction.sliding_windows import Band, sliding_window_bands

__all__ = ["MULTI_SCALE_FLIP", "InferenceSettings"]

_PROBED_SIDE = 1024
"""Side of an image, in pixels, whose feature maps show the stride of a network; a multiple of all strides in use."""


@dataclasses.dataclass(frozen=True)
class InferenceSettings:
    """How class masks are computed. The default is the published single-scale evaluation of whole images.

    Args:
        ratios: ratios of the scales whose logits are combined.
        flip: whether to add horizontally flipped images.
        combination: how to combine scales: "logits" (sum) or "probabilities" (mean of the softmax).
        short_side: height or width, whichever is smaller, that images are scaled to, as for SegNeXt, see
            :func:`hamgan.segmentation.prediction.short_side.short_side_bands`; None leaves images at their size.
        window: height and width of sliding windows, in pixels of the scaled image; None for whole images.
        window_step: distance between windows, in pixels; by default, two thirds of the window.
        num_steps: number of iterations K of the matrix decomposition; by default, that of the network.

    Raises:
        UserError: a setting is out of range.

    Example:
        >>> from hamgan.segmentation.prediction.inference import InferenceSettings
        >>> InferenceSettings(window=513, num_steps=3).describe()
        'single scale, windows of 513 every 342 pixels, K = 3'
    """

    ratios: tuple[float, ...] = (1.0,)
    flip: bool = False
    combination: str = "logits"
    short_side: int | None = None
    window: int | None = None
    window_step: int | None = None
    num_steps: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))
        if not self.ratios or not all(0 < ratio < float("inf") for ratio in self.ratios):
            raise UserError(f"ratios: expected positive numbers, at least one, found {list(self.ratios)}")
        if self.combination not in LOGIT_COMBINATIONS:
            raise UserError(f"combination: expected {' or '.join(LOGIT_COMBINATIONS)}, found '{self.combination}'")
        if self.short_side is not None and self.short_side < 1:
            raise UserError(f"short_side: expected a positive number of pixels, found {self.short_side}")
        if self.window is None and self.window_step is not None:
            raise UserError(f"window_step: expected together with a window, found {self.window_step} without; set it")
        if self.window is not None and self.window < 1:
            raise UserError(f"window: expected a positive number of pixels, found {self.window}")
        if self.window is not None and not 1 <= self.step <= self.window:
            raise UserError(f"window_step: expected 1 to the window's {self.window} pixels, found {self.window_step}")
        if self.num_steps is not None and self.num_steps < 0:
            raise UserError(f"num_steps: expected 0 or more iterations, found {self.num_steps}")

    @property
    def step(self) -> int:
        """Distance between windows, in pixels."""
        assert self.window is not None
        return max(2 * self.window // 3, 1) if self.window_step is None else self.window_step

    def changed(
        self,
        *,
        multi_scale: bool = False,
        combination: str | None = None,
        short_side: int | None = None,
        window: int | None = None,
        window_step: int | None = None,
        num_steps: int | None = None,
    ) -> "InferenceSettings":
        """Returns the settings with those that are given in place of theirs.

        Args:
            multi_scale: whether to use the scales and flips of ``MULTI_SCALE_FLIP``.
            combination: how to combine scales; None leaves it as it is.
            short_side: see :class:`InferenceSettings`; None leaves it as it is.
            window: height and width of sliding windows; None leaves them as they are.
            window_step: distance between windows; None leaves it as it is, or with a new window two thirds of that.
            num_steps: number of iterations K; None leaves it as it is.

        Raises:
            UserError: a setting is out of range, or there is only one scale to combine.
        """
        given = {
            "combination": combination,
            "short_side": short_side,
            "window": window,
            "window_step": window_step,
            "num_steps": num_steps,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if window is not None and window_step is None:
            changes["window_step"] = None  # Two thirds of the new window.
        if multi_scale:
            changes |= {"ratios": MULTI_SCALE_FLIP.ratios, "flip": MULTI_SCALE_FLIP.flip}
        changed = dataclasses.replace(self, **changes)
        if combination is not None and len(changed.ratios) == 1 and not changed.flip:
            raise UserError(f"combination={combination}: expected several scales, found one; pass --multi_scale")
        return changed

    def values(self) -> dict[str, Any]:
        """Returns the settings as JSON values."""
        values = {**dataclasses.asdict(self), "ratios": list(self.ratios)}
        if self.short_side is None:
            del values["short_side"]  # Results of earlier versions, which did not know it, compare equal.
        return values

    def describe(self) -> str:
        """Returns the settings in a few words."""
        how = (self.ratios, self.flip, self.combination)
        if how == (RATIOS, True, "logits"):
            scales = "MSFlip"
        elif how[:2] == ((1.0,), False):
            scales = "single scale"
        else:
            ratios = ", ".join(f"{ratio:g}" for ratio in self.ratios)
            scales = f"scales {ratios}, {'with flips, ' if self.flip else ''}{self.combination}"
        side = "" if self.short_side is None else f", short side {self.short_side}"
        windows = "" if self.window is None else f", windows of {self.window} every {self.step} pixels"
        return scales + side + windows + ("" if self.num_steps is None else f", K = {self.num_steps}")


SINGLE_SCALE = InferenceSettings()
MULTI_SCALE_FLIP = InferenceSettings(ratios=RATIOS, flip=True)
"""The published multi-scale test of HamNet, "MSFlip"."""


class MaskPredictor:
    """Function from uint8 images to class masks.

    Args:
        network: :class:`hamgan.segmentation.SegmentationNetwork`, or any function from normalised images to logits of
            the same size.
        settings: how to apply the network.

    Raises:
        UserError: the settings do not suit the network.

    Example:
        >>> import numpy as np
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> from hamgan.segmentation.prediction.inference import MaskPredictor
        >>> network = HamNet(ResNet(depths=(1, 1, 1, 1), base_channels=8), num_classes=3, head_channels=16, rank=4)
        >>> MaskPredictor(network)(np.zeros((2, 40, 30, 3), np.uint8)).shape
        (2, 40, 30)
    """

    def __init__(self, network: keras.Model | Network, settings: InferenceSettings = SINGLE_SCALE) -> None:
        if settings.num_steps is not None and not _hams(network):
            raise UserError(
                f"num_steps: expected a network with a matrix decomposition, found one without; remove the "
                f"{settings.num_steps}"
            )
        self.network = network
        self.settings = settings
        self._stride, self._remainder = padding_of(network)
        # Compiled once for all scales; what surrounds it is cheap.
        self._compiled = tf.function(
            self._call, autograph=False, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)]
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the class of each pixel.

        Args:
            images: uint8 RGB images, shape ``(batch, height, width, 3)``. They do not influence each other.

        Returns:
            Classes, uint8, shape ``(batch, height, width)``.

        Raises:
            UserError: an image does not fit into memory.
        """
        try:
            with num_steps_at(self.network, self.settings.num_steps):
                bands = [_strongest(band.logits) for band in self._bands(images)]
        except tf.errors.ResourceExhaustedError as error:
            height, width = images.shape[1:3]
            raise UserError(
                f"expected images that fit into memory, found {width}x{height} pixels; use sliding windows, such as "
                "--window 513"
            ) from error
        return np.concatenate(bands, axis=1)

    def _bands(self, images: np.ndarray) -> Iterator[Band]:
        """Yields the logits of images at their own size, from top to bottom; with several scales, what combines them.

        Args:
            images: uint8 RGB images, shape ``(batch, height, width, 3)``.
        """
        settings = self.settings
        if settings.short_side is not None:
            yield from short_side_bands(
                self._compiled,
                images,
                short_side=settings.short_side,
                ratios=settings.ratios,
                flip=settings.flip,
                combination=settings.combination,
                stride=self._stride,
                remainder=self._remainder,
                window=settings.window,
                step=None if settings.window is None else settings.step,
            )
        elif settings.window is not None:
            yield from sliding_window_bands(self._logits, images, window=settings.window, step=settings.step)
        else:
            yield Band(0, self._logits(images).numpy())

    def _logits(self, images: np.ndarray) -> tf.Tensor:
        """Returns what :meth:`_bands` yields for images, or for windows, that are not scaled to a short side."""
        padding = {"stride": self._stride, "remainder": self._remainder}
        pixels, settings = normalise(images), self.settings
        if settings.ratios == (1.0,) and not settings.flip:
            return single_scale_logits(self._compiled, pixels, **padding)
        return multi_scale_logits(
            self._compiled,
            pixels,
            ratios=settings.ratios,
            flip=settings.flip,
            combination=settings.combination,
            **padding,
        )

    def _call(self, images: tf.Tensor) -> tf.Tensor:
        if isinstance(self.network, keras.Model):
            return self.network(images, training=False)
        return self.network(images)


def _strongest(logits: np.ndarray) -> np.ndarray:
    return logits.argmax(axis=-1).astype(np.uint8)


def padding_of(network: keras.Model | Callable[[tf.Tensor], tf.Tensor]) -> tuple[int, int]:
    """Returns the stride of a network's coarsest features, and the remainder of the sizes that images are padded to.

    Networks that align corners, such as HamNet, take sizes of 1 modulo their stride, others multiples of it.

    Args:
        network: :class:`hamgan.segmentation.SegmentationNetwork`. For any other function, the result is that of HamNet.
    """
    if not isinstance(network, SegmentationNetwork):
        return STRIDE, REMAINDER
    shapes = feature_shapes(network.backbone.compute_output_shape((None, _PROBED_SIDE, _PROBED_SIDE, network.channels)))
    stride = max(_PROBED_SIDE // shape[1] for shape in shapes if shape[1])
    return stride, REMAINDER if network.align_corners else 0


@contextlib.contextmanager
def num_steps_at(network: Any, num_steps: int | None) -> Iterator[None]:
    """Context manager that sets the number of iterations K of a network's matrix decompositions outside training.

    Functions must be traced inside.

    Args:
        network: Keras model; one without matrix decompositions, or another function, stays as it is.
        num_steps: number of iterations; None leaves it as it is.
    """
    hams = _hams(network) if num_steps is not None else []
    before = [ham.evaluation_steps for ham in hams]
    for ham in hams:
        ham.evaluation_steps = num_steps
    try:
        yield
    finally:
        for ham, steps in zip(hams, before, strict=True):
            ham.evaluation_steps = steps


def _hams(network: Any) -> list[Any]:
    return decompositions(network) if isinstance(network, keras.Model) else []
