"""Fixed evaluation bases for a model that was trained without them."""

from typing import Any

import keras

from hamgan.layers.matrix_decomposition import MatrixDecomposition


def fix_bases(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Returns a copy of a trained model that evaluates from fixed bases: one result per input, ready to be exported.

    The copy is rebuilt from the model's configuration, with ``evaluation_bases="fixed"`` in each Hamburger and matrix
    decomposition that has "random" there, and has the model's weights. It is not compiled.

    Args:
        model: any Keras model with Hamburgers or matrix decompositions that its configuration describes, such as a
            functional model, :class:`hamgan.networks.Generator` or :class:`hamgan.networks.Discriminator`.
        seed: integer from which the bases are drawn, together with each layer's path.

    Raises:
        ValueError: there are no such layers, or the model's configuration does not describe all of them.
    """
    originals = _decompositions(model)
    if not originals:
        raise ValueError(f"{model.name} has no Hamburger and no matrix decomposition whose bases could be fixed")
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    _fix(config, seed)
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    # safe_mode guards against the code of strangers; all of this model's is loaded already.
    fixed = keras.saving.deserialize_keras_object(config, custom_objects=classes, safe_mode=False)
    copies = _decompositions(fixed)
    unknown = [layer.path for layer in copies if layer.evaluation_bases == "random"]
    if unknown or len(copies) != len(originals):
        raise ValueError(
            f"get_config() of {model.name} does not describe {', '.join(unknown) or 'all its layers'}: "
            "build the model with evaluation_bases='fixed' and copy the weights"
        )
    added = {
        id(copy.fixed_bases) for copy, original in zip(copies, originals, strict=True) if original.fixed_bases is None
    }
    kept = [weight for weight in fixed.weights if id(weight) not in added]
    for target, source in zip(kept, model.weights, strict=True):
        target.assign(source)
    return fixed


def _decompositions(model: keras.Model) -> list[MatrixDecomposition]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, MatrixDecomposition)]


def _fix(config: Any, seed: int) -> None:
    """Sets the bases' arguments in nested configurations."""
    if isinstance(config, dict):
        if config.get("evaluation_bases") == "random":
            config.update(evaluation_bases="fixed", seed=seed)
        for value in config.values():
            _fix(value, seed)
    elif isinstance(config, list | tuple):
        for value in config:
            _fix(value, seed)
