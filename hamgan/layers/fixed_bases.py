"""Fixed evaluation bases for a model that was trained without them."""

from typing import Any

import keras

from hamgan.layers.matrix_decomposition import MatrixDecomposition


def fix_bases(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Returns a copy of a trained model that evaluates from fixed bases: one result per input, ready to be exported.

    The copy is rebuilt from the model's configuration, with ``evaluation_bases="fixed"`` in every Hamburger and matrix
    decomposition, and has the model's weights. It is not compiled.

    Args:
        model: any Keras model with Hamburgers or matrix decompositions that its configuration describes, such as a
            functional model, :class:`hamgan.models.Generator` or :class:`hamgan.models.Discriminator`.
        seed: integer from which the bases are drawn, together with each layer's path.

    Raises:
        ValueError: there is nothing to fix, or the model's configuration does not describe all of it.
    """
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    _fix(config, seed)
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    # safe_mode guards against the code of strangers; all of this model's is loaded already.
    fixed = keras.saving.deserialize_keras_object(config, custom_objects=classes, safe_mode=False)
    found = [layer for layer in fixed._flatten_layers() if isinstance(layer, MatrixDecomposition)]
    if not found:
        raise ValueError(f"{model.name} has no Hamburger and no matrix decomposition whose bases could be fixed")
    unknown = [layer.path for layer in found if layer.evaluation_bases != "fixed"]
    if unknown:
        raise ValueError(
            f"get_config() of {model.name} does not say what {', '.join(unknown)} is made of: "
            "build the model with evaluation_bases='fixed' and copy the weights"
        )
    for target, source in zip(_published_weights(fixed), _published_weights(model), strict=True):
        target.assign(source)
    return fixed


def _fix(config: Any, seed: int) -> None:
    """Sets the bases' arguments in nested configurations."""
    if isinstance(config, dict):
        if "evaluation_bases" in config:
            config.update(evaluation_bases="fixed", seed=seed)
        for value in config.values():
            _fix(value, seed)
    elif isinstance(config, list | tuple):
        for value in config:
            _fix(value, seed)


def _published_weights(model: keras.Model) -> list[keras.Variable]:
    """All weights but fixed bases, which only one of the two models may have."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, MatrixDecomposition)]
    bases = {id(layer.fixed_bases) for layer in layers}
    return [weight for weight in model.weights if id(weight) not in bases]
