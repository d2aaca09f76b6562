"""Segmentation networks: a backbone, a head and bilinear interpolation to the size of the images."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from hamgan.layers.bilinear_resize import bilinear_resize
from hamgan.layers.input_shapes import image_channels
from hamgan.layers.precision import accumulation_dtype
from hamgan.segmentation.networks.chain import unbuilt_layer
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.networks.head import SegmentationHead, feature_shapes

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable(package="hamgan")
class SegmentationNetwork(keras.Model):
    """Segmentation network from any backbone and head; its outputs are logits at the size of the images.

    Images may have any size. The constructor creates all weights.

    Args:
        backbone: Keras model of images that returns features, or a list of features of several stages, such as
            :class:`hamgan.segmentation.ResNet` and :class:`hamgan.segmentation.MSCAN`.
        head: head, such as :class:`hamgan.segmentation.LightHamHead`.
        stages: stages whose features are the inputs of the head, counted from 1 at the finest one, or from -1 at the
            last one.
        align_corners: whether the interpolation aligns corner pixels, see :func:`hamgan.layers.bilinear_resize`.
        channels: number of channels of the images.

    Raises:
        ValueError: if the backbone has no such stages, or its features do not suit the head.

    Example:
        >>> import tensorflow as tf
        >>> from hamgan.segmentation import LightHamHead, ResNet, SegmentationNetwork
        >>> backbone = ResNet(depths=(1, 1, 1, 1), base_channels=8, output_stride=16)
        >>> head = LightHamHead(num_classes=5, rank=4, channels=32)
        >>> network = SegmentationNetwork(backbone, head, stages=(2, 3, 4), align_corners=False)
        >>> network(tf.zeros((2, 64, 48, 3))).shape
        TensorShape([2, 64, 48, 5])
    """

    def __init__(
        self,
        backbone: keras.Model,
        head: SegmentationHead,
        *,
        stages: Sequence[int] = (-1,),
        align_corners: bool = True,
        channels: int = 3,
        name: str = "segmentation_network",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.autocast = False  # Autocast would round the bases; the backbone casts the images.
        self.backbone = backbone
        self.head = head
        self.stages = tuple(stages)
        self.align_corners = align_corners
        self.channels = channels
        self._backbone_takes_noise = "noise" in inspect.signature(backbone.call).parameters
        self.build((None, None, None, channels))

    def build(self, input_shape: Shape) -> None:
        """Creates the weights of backbone and head."""
        image_channels(self, input_shape)
        if not self.backbone.built:
            self.backbone.build(input_shape)
        shapes = feature_shapes(self.backbone.compute_output_shape(input_shape))
        if not self.stages or not all(1 <= abs(stage) <= len(shapes) for stage in self.stages):
            raise ValueError(
                f"stages must be in 1 to {len(shapes)}, or their negatives, at least one, received {self.stages}"
            )
        if not self.head.built:
            self.head.build(self._chosen(shapes))
        self.built = True

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        initial_bases: Any = None,
        noise: Noise | None = None,
    ) -> tf.Tensor:
        """Computes the logits of each pixel.

        Args:
            inputs: normalised images of shape ``(batch, height, width, channels)``.
            training: whether to use dropout, batch statistics, and the training settings of the decomposition.
            initial_bases: initial bases of the decomposition, as from :meth:`draw_initial_bases`; by default, its
                settings determine them.
            noise: random stream of the batch, which determines what dropout drops; by default, that of the layers.

        Returns:
            Logits of shape ``(batch, height, width, num_classes)``, in float32 or wider.
        """
        logits = self.coarse_logits(inputs, training=training, initial_bases=initial_bases, noise=noise)
        shape = tf.shape(inputs)
        size = tuple(inputs.shape[axis] or shape[axis] for axis in (1, 2))
        wide = tf.cast(logits, accumulation_dtype(logits.dtype))
        return bilinear_resize(wide, size, align_corners=self.align_corners)

    def coarse_logits(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        initial_bases: Any = None,
        noise: Noise | None = None,
    ) -> tf.Tensor:
        """Computes logits at the size of the head's first features, before interpolation.

        Args:
            inputs: normalised images of shape ``(batch, height, width, channels)``.
            training: as in :meth:`call`.
            initial_bases: as in :meth:`call`.
            noise: as in :meth:`call`.

        Returns:
            Logits of shape ``(batch, h, w, num_classes)``, where h and w are the size of these features.
        """
        arguments = {"noise": noise} if self._backbone_takes_noise else {}
        features = self.backbone(inputs, training=training, **arguments)
        each = features if isinstance(features, list | tuple) else [features]
        return self.head(self._chosen(each), training=training, initial_bases=initial_bases, noise=noise)

    def _chosen(self, features: Sequence[Any]) -> list[Any]:
        """Returns those of the chosen stages."""
        return [features[stage - 1 if stage > 0 else stage] for stage in self.stages]

    def draw_initial_bases(
        self,
        key: tf.Tensor,
        *,
        first: int | tf.Tensor,
        count: int | tf.Tensor,
        image_size: tuple[int, int] | None = None,
    ) -> Any:
        """Draws the initial bases of images ``first`` to ``first + count - 1``.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            first: index of the first image.
            count: number of images.
            image_size: height and width of the images; only hams of the channel form need it.

        Returns:
            The ``initial_bases`` argument of ``call``, or None if the head has no bases.
        """
        size = None
        if image_size is not None:
            shapes = feature_shapes(self.backbone.compute_output_shape((None, *image_size, self.channels)))
            size = self._chosen(shapes)[0][1:3]
        return self.head.draw_initial_bases(key, first=first, count=count, size=size)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns ``(batch, height, width, num_classes)``."""
        return (*input_shape[:3], self.head.num_classes)

    def compute_output_spec(self, inputs: keras.KerasTensor, *_: Any, **__: Any) -> keras.KerasTensor:
        """Returns shape and dtype of the logits, which are float32 in mixed precision."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, accumulation_dtype(self.compute_dtype).name)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "head": keras.saving.serialize_keras_object(self.head),
            "stages": self.stages,
            "align_corners": self.align_corners,
            "channels": self.channels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SegmentationNetwork":
        """Creates a network from its config."""
        parts: dict[str, Any] = {
            name: unbuilt_layer(config[name], custom_objects) for name in ("backbone", "head") if name in config
        }
        return super().from_config({**config, **parts}, custom_objects)
