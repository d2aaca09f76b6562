"""The interface of segmentation heads, and the layers that all of them end with."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.segmentation.networks.convolution import Convolution
from hamgan.segmentation.networks.dropout import Noise, SpatialDropout

Shape = tuple[int | None, ...]


class SegmentationHead(keras.Layer):
    """Base class of the heads: logits of each class at each position of a backbone's features.

    A head ends with dropout of whole channels and ``classifier``, a 1x1 convolution with a bias.

    Args:
        num_classes: number of classes.
        dropout_rate: probability of dropping a channel before the classifier in training, in [0, 1).
        start_values: distribution of the classifier's start values, see
            :class:`hamgan.segmentation.networks.convolution.Convolution`.
    """

    def __init__(self, num_classes: int, *, dropout_rate: float, start_values: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, received {num_classes}")
        self.autocast = False  # Autocast would round the bases; call() casts the features.
        self.num_classes = num_classes
        self.dropout_rate = dropout_rate
        self.dropout = SpatialDropout(dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.classifier = Convolution(
            num_classes, 1, start_values=start_values, name="classifier", dtype=self.dtype_policy
        )

    def call(
        self,
        inputs: tf.Tensor | Sequence[tf.Tensor],
        training: bool | None = None,
        initial_bases: Any = None,
        noise: Noise | None = None,
    ) -> tf.Tensor:
        """Computes logits.

        Args:
            inputs: features of shape ``(batch, height, width, channels)``; some heads take a list of features of
                different sizes.
            training: whether to use dropout, and the training settings of the layers inside.
            initial_bases: initial bases of the matrix decomposition, as from :meth:`draw_initial_bases`; by default,
                the settings of the decomposition determine them.
            noise: random stream of the batch, which determines the dropped channels; by default, that of the layer.

        Returns:
            Tensor of shape ``(batch, height, width, num_classes)``, at the size of the first features.
        """
        raise TypeError(f"{type(self).__name__} must define call()")

    def classify(self, hidden: tf.Tensor, training: bool | None, noise: Noise | None) -> tf.Tensor:
        """Applies dropout and the classifier."""
        return self.classifier(self.dropout(hidden, training=training, noise=noise))

    def draw_initial_bases(
        self,
        key: tf.Tensor,
        *,
        first: int | tf.Tensor,
        count: int | tf.Tensor,
        size: tuple[int, int] | None = None,
    ) -> Any:
        """Draws the initial bases of images ``first`` to ``first + count - 1``.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.
            size: height and width of the first features; only hams of the channel form need it.

        Returns:
            The ``initial_bases`` argument of ``call``, or None if the head has no bases.
        """
        return None

    def compute_output_shape(self, input_shape: Any, *_: Any) -> Shape:
        """Returns ``(batch, height, width, num_classes)``."""
        return (*feature_shapes(input_shape)[0][:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes, "dropout_rate": self.dropout_rate}


def feature_shapes(input_shape: Any) -> list[Shape]:
    """Returns the shapes of a head's inputs as a list, also if there is one input."""
    is_list = isinstance(input_shape[0], list | tuple)
    return [tuple(shape) for shape in input_shape] if is_list else [tuple(input_shape)]


def single_feature_shape(head: keras.Layer, input_shape: Any) -> Shape:
    """Returns the shape of the only input of a head.

    Raises:
        ValueError: if there are several.
    """
    shapes = feature_shapes(input_shape)
    if len(shapes) != 1:
        raise ValueError(f"{head.name} expects the features of one stage, received {len(shapes)}")
    return shapes[0]


def feature_tensors(inputs: tf.Tensor | Sequence[tf.Tensor], dtype: str) -> list[tf.Tensor]:
    """Returns a head's inputs as a list of tensors of a dtype."""
    each = inputs if isinstance(inputs, list | tuple) else [inputs]
    return [tf.cast(features, dtype) for features in each]
