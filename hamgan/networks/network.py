"""Base class of the generator and discriminator: blocks, context modules and export."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from hamgan import random_streams
from hamgan.architecture import check_channels, check_resolution
from hamgan.layers.context import ContextModule
from hamgan.layers.execution import convolution_form as current_convolution_form
from hamgan.networks.context import complete_arguments, context_after_blocks, make_context
from hamgan.random_streams import Purpose

Shape = tuple[int | None, ...]
Bases: TypeAlias = Any
"""Sequence with a tensor for each context module that has bases, or the tensor of a single module.

Modules whose bases are not random in the mode of the call may be left out, all together.
"""


class Network(keras.Model):
    """Base class of the generator and discriminator.

    Subclasses create ``blocks``, then call :meth:`_create_context`.

    Attributes:
        blocks: residual blocks, in order.
        context: context modules, in the order of the constructor's ``context``.
    """

    blocks: tuple[keras.Layer, ...]
    context: tuple[ContextModule, ...]

    def __init__(
        self,
        *,
        resolution: int,
        num_classes: int,
        channels: int,
        base_channels: int,
        context: Sequence[Mapping[str, Any]],
        convolution_form: str | None,
        name: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.autocast = False  # Autocast would round float labels; call() casts the other inputs.
        check_resolution(resolution)
        check_channels(channels)
        self.resolution = resolution
        self.num_classes = num_classes
        self.channels = channels
        self.base_channels = base_channels
        self.convolution_form = current_convolution_form() if convolution_form is None else convolution_form
        self.context_arguments = complete_arguments(context)

    def _create_context(self, sizes: Sequence[int], **batch_norm: Any) -> None:
        """Creates the context modules.

        Args:
            sizes: sizes (height and width) of the outputs of the first blocks, which may be followed by context
                modules.
            batch_norm: further constructor arguments of modules with batch normalisation.
        """
        self._context_after = context_after_blocks(self.context_arguments, sizes, len(self.blocks))
        self.context = make_context(self.context_arguments, batch_norm=batch_norm, dtype=self.dtype_policy)

    def _build_blocks(self, shape: Shape) -> Shape:
        """Builds blocks and context modules for an input shape, and returns the output shape."""
        for block, following in zip(self.blocks, self._context_after, strict=True):
            block.build(shape)
            shape = block.compute_output_shape(shape)
            for index in following:
                self.context[index].build(shape)
        return shape

    def _apply_blocks(
        self, hidden: tf.Tensor, *, training: bool | None, initial_bases: Bases | None, **conditions: Any
    ) -> tf.Tensor:
        """Applies blocks and context modules; blocks, and modules with batch normalisation, take ``conditions``."""
        bases = self._bases_by_index(initial_bases, bool(training))
        for block, following in zip(self.blocks, self._context_after, strict=True):
            hidden = block(hidden, training=training, **conditions)
            for index in following:
                module = self.context[index]
                arguments = dict(conditions) if module.has_batch_norm else {}
                if module.has_bases:
                    arguments["initial_bases"] = bases.get(index)
                hidden = module(hidden, training=training, **arguments)
        return hidden

    def _bases_by_index(self, initial_bases: Bases | None, training: bool) -> dict[int, tf.Tensor]:
        if initial_bases is None:
            return {}
        indices = [index for index, module in enumerate(self.context) if module.has_bases]
        each = list(initial_bases) if isinstance(initial_bases, list | tuple) else [initial_bases]
        random = [index for index in indices if self.context[index].has_random_bases(training)]
        if len(each) == len(random):
            indices = random
        if len(each) != len(indices):
            raise ValueError(
                f"{self.name} has {len(indices)} context modules with bases and expects initial_bases for each, "
                f"received {len(each)}"
            )
        return dict(zip(indices, each, strict=True))

    def draw_initial_bases(
        self,
        key: tf.Tensor,
        purpose: Purpose,
        *,
        first: int | tf.Tensor,
        count: int | tf.Tensor,
        training: bool = False,
        as_trained: bool = False,
    ) -> tuple[tf.Tensor, ...]:
        """Draws the initial bases of images ``first`` to ``first + count - 1``.

        Modules with fixed or running bases in this mode are left out, and use those.

        Args:
            key: key of a random stream, from :func:`hamgan.random_streams.fold`.
            purpose: purpose of the bases, which selects a substream of the key.
            first: index of the first image.
            count: number of images.
            training: mode of the call that the bases are for.
            as_trained: whether modules whose bases :func:`hamgan.layers.fix_bases` fixed get random ones, as before.

        Returns:
            The ``initial_bases`` argument of ``call``: a tensor for each context module whose bases are random.
        """
        keys = (
            # The first module keeps the stream of versions that had a single module.
            random_streams.fold(key, purpose, *([index] if index else []))
            for index in range(len(self.context))
        )
        drawn = [
            module.draw_initial_bases(key, first=first, count=count)
            for module, key in zip(self.context, keys, strict=True)
            if module.has_random_bases(training) or (as_trained and module.had_random_bases)
        ]
        return tuple(bases for bases in drawn if bases is not None)

    def input_signature(self) -> list[keras.InputSpec]:
        """Returns shape, dtype and name of each positional input of ``call``, for any batch size."""
        raise TypeError(f"{type(self).__name__} must define input_signature()")

    def export(
        self,
        filepath: str,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Exports the network for inference; see ``keras.Model.export``.

        Without an input signature, Keras can only export functional models.

        Args:
            filepath: path of the exported model.
            format: format that Keras supports, such as "tf_saved_model", "onnx" or "litert".
            verbose: whether Keras prints a summary.
            input_signature: shape, dtype and name of each input; :meth:`input_signature` by default.
            kwargs: options of the format.
        """
        signature = self.input_signature() if input_signature is None else input_signature
        super().export(filepath, format=format, verbose=verbose, input_signature=signature, **kwargs)

    @property
    def _default_save_signature(self) -> Callable[..., Any]:
        """The function that ``tf.saved_model.save`` exports as ``serving_default``."""
        specs = [tf.TensorSpec(spec.shape, spec.dtype, spec.name) for spec in self.input_signature()]

        @tf.function(autograph=False, input_signature=specs)
        def serving_default(*inputs: tf.Tensor) -> tf.Tensor:
            return self(*inputs, training=False)

        return serving_default

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "channels": self.channels,
            "base_channels": self.base_channels,
            "context": self.context_arguments,
            "convolution_form": self.convolution_form,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Network":
        """Creates a network from its config, or from one that predates lists of context modules."""
        config = dict(config)
        if "hamburger" in config:
            hamburger, resolution = config.pop("hamburger"), config.pop("hamburger_resolution")
            context = [] if hamburger is None else [{"module": "hamburger", "resolution": resolution, **hamburger}]
            config["context"] = context
        config.pop("recomputed_blocks", None)
        return super().from_config(config, custom_objects)
