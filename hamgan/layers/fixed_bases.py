"""Conversion of a trained model to fixed evaluation bases."""

from typing import Any

import keras
import numpy as np

from hamgan.layers.matrix_decomposition import MatrixDecomposition


def fix_bases(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Returns a copy of a trained model with fixed evaluation bases: deterministic, and ready for export.

    The copy is rebuilt from the model's config, with ``evaluation_bases="fixed"`` in place of "random" in each
    Hamburger and matrix decomposition. It has the model's weights and is not compiled.

    Args:
        model: Keras model with Hamburgers or matrix decompositions in its config, such as a functional model,
            :class:`hamgan.networks.Generator` or :class:`hamgan.networks.Discriminator`.
        seed: integer seed; each layer derives its bases from the seed and its path.

    Returns:
        A model of the same class.

    Raises:
        ValueError: if the model has no such layers, or its config does not describe all of them.

    Example:
        >>> import keras
        >>> from hamgan.layers import Hamburger, fix_bases
        >>> inputs = keras.Input((8, 8, 16))
        >>> hamburger = Hamburger(latent_dim=8, rank=4, evaluation_bases="random", name="hamburger")
        >>> model = fix_bases(keras.Model(inputs, hamburger(inputs)), seed=1)
        >>> model.get_layer("hamburger").ham.evaluation_bases
        'fixed'
    """
    originals = decompositions(model)
    if not originals:
        raise ValueError(f"{model.name} has no Hamburger and no matrix decomposition whose bases could be fixed")
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    _fix(config, seed)
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    # safe_mode protects from untrusted code; this model's code is already loaded.
    fixed = keras.saving.deserialize_keras_object(config, custom_objects=classes, safe_mode=False)
    copies = decompositions(fixed)
    unknown = [layer.path for layer in copies if layer.evaluation_bases == "random"]
    if unknown or len(copies) != len(originals):
        raise ValueError(
            f"get_config() of {model.name} does not describe {', '.join(unknown) or 'all its layers'}: "
            "build the model with evaluation_bases='fixed' and copy the weights"
        )
    for copy, original in zip(copies, originals, strict=True):
        copy.had_random_bases = original.evaluation_bases == "random"
    added = {
        id(copy.fixed_bases) for copy, original in zip(copies, originals, strict=True) if original.fixed_bases is None
    }
    kept = [weight for weight in fixed.weights if id(weight) not in added]
    for target, source in zip(kept, model.weights, strict=True):
        target.assign(source)
    return fixed


def fixed_initial_bases(model: keras.Model, *, seed: int = 0) -> list[np.ndarray]:
    """Returns the bases that :func:`fix_bases` gives to the layers of a model with random evaluation bases.

    Args:
        model: Keras model; it may have no matrix decompositions.
        seed: integer seed of the bases.

    Returns:
        An array of shape ``(num_sections, latent_dim, rank)`` for each matrix decomposition whose evaluation bases are
        random, in the model's order.
    """
    originals = decompositions(model)
    if not originals:
        return []
    copies = decompositions(fix_bases(model, seed=seed))
    return [
        keras.ops.convert_to_numpy(copy.fixed_bases)
        for copy, original in zip(copies, originals, strict=True)
        if original.evaluation_bases == "random"
    ]


def decompositions(model: keras.Model) -> list[MatrixDecomposition]:
    """Returns the matrix decompositions of a model, in its order."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, MatrixDecomposition)]


def _fix(config: Any, seed: int) -> None:
    """Replaces "random" evaluation bases in nested configs, in place."""
    if isinstance(config, dict):
        if config.get("evaluation_bases") == "random":
            config.update(evaluation_bases="fixed", seed=seed)
        for value in config.values():
            _fix(value, seed)
    elif isinstance(config, list | tuple):
        for value in config:
            _fix(value, seed)
