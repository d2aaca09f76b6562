"""Logits of images that are scaled to a short side first: the evaluation of SegNeXt."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.data.resizing import resize_half_pixel, resized_rows
from hamgan.segmentation.data.scaled_sizes import keep_ratio_scale, rounded_size
from hamgan.segmentation.prediction.multi_scale import Network, single_scale_logits
from hamgan.segmentation.prediction.sliding_windows import Band, sliding_window_logits

_BAND = 2**18
"""Most pixels of a band, unless one row has more."""


def short_side_bands(
    network: Network,
    images: np.ndarray | tf.Tensor,
    *,
    short_side: int,
    ratios: Sequence[float] = (1.0,),
    flip: bool = False,
    combination: str = "logits",
    stride: int = 32,
    remainder: int = 0,
    window: int | None = None,
    step: int | None = None,
) -> Iterator[Band]:
    """Yields the logits of images at their own size, from top to bottom.

    For each ratio, an image is scaled to ``ratio * short_side`` with its long side at most four times as long, and then
    resized to the next size that the network takes; both results are rounded to 8 bits. The network's logits are
    resized to the size of the image. All resizing is bilinear with half-pixel centers.

    Args:
        network: function from normalised images to logits of the same size.
        images: uint8 RGB images, shape ``(batch, height, width, 3)``; needs eager execution.
        short_side: height or width, whichever is smaller, of a scaled image, in pixels.
        ratios: ratios of the scales.
        flip: whether to add the flipped images.
        combination: way to combine several logits, one of :data:`hamgan.architecture.LOGIT_COMBINATIONS`.
        stride: stride of the network.
        remainder: remainder, modulo the stride, of the sizes that the network takes.
        window: height and width of sliding windows in the scaled image, in pixels; None for whole images.
        step: distance between windows, in pixels.

    Yields:
        Bands of the logits, of their sum, or of the mean of the softmax probabilities.

    Reference: Guo et al., SegNeXt (NeurIPS 2022); the evaluation of its code.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation.prediction.short_side import short_side_bands
        >>> bands = short_side_bands(lambda images: images, tf.zeros((1, 41, 37, 3), tf.uint8), short_side=64)
        >>> [band.logits.shape for band in bands]
        [(1, 41, 37, 3)]
    """

    def logits_of(scaled: tf.Tensor) -> tf.Tensor:
        return single_scale_logits(network, scaled, stride=stride, remainder=remainder)

    height, width = images.shape[1:3]
    parts = []
    for ratio in ratios:
        scaled = _scaled(images, short_side, ratio, stride, remainder)
        for flipped in (False, True) if flip else (False,):
            oriented = scaled[:, :, ::-1] if flipped else scaled
            if window is None or step is None:
                logits = logits_of(oriented)
            else:
                logits = sliding_window_logits(logits_of, oriented, window=window, step=step)
            logits = tf.cast(logits, tf.float32)
            parts.append(logits[:, :, ::-1] if flipped else logits)
    averages = combination == "probabilities" and len(parts) > 1
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        total: tf.Tensor = 0.0
        for part in parts:
            values = resized_rows(part, (height, width), top, min(top + rows, height))
            total += tf.nn.softmax(values) if averages else values
        yield Band(top, (total / len(parts) if averages else total).numpy())


def _scaled(images: np.ndarray | tf.Tensor, short_side: int, ratio: float, stride: int, remainder: int) -> tf.Tensor:
    """Returns normalised images."""
    size = tf.shape(images)[1:3]
    size = rounded_size(size, keep_ratio_scale(size, short_side, ratio))
    pixels = tf.round(resize_half_pixel(tf.cast(images, tf.float32), size))
    pixels = tf.round(resize_half_pixel(pixels, size + (remainder - size) % stride))
    return normalise(pixels)
