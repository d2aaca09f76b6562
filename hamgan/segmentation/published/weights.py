"""Reading and writing the weights of published checkpoints, as dictionaries of arrays."""

import re
from collections.abc import Mapping

import keras
import numpy as np

from hamgan.errors import UserError
from hamgan.segmentation.published.names import NameForm, name_forms

_COUNTER = "num_batches_tracked"
_UNUSED = re.compile(r"(.*\.)?num_batches_tracked|fc\.(weight|bias)|head\.(weight|bias)|auxiliary_head\..*")
"""Tensors that no network here has: counters of batches, classifiers of ImageNet and auxiliary heads."""
_SHOWN_NAMES = 3


def load_official_weights(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Assigns the weights of a published checkpoint to a model, all of them or none.

    Args:
        model: network or backbone, see :func:`hamgan.segmentation.published.names.name_forms`.
        arrays: arrays by published name, in the published layout. The names may be those of any code base that
            publishes such models.

    Returns:
        Names of the arrays that the model has no weights for, in order: counters of batches, an ImageNet classifier and
        auxiliary heads.

    Raises:
        UserError: if a weight is missing, another array is left over, or a shape or dtype does not match.

    Example:
        >>> from hamgan.segmentation import ResNet
        >>> from hamgan.segmentation.published.weights import load_official_weights, official_weights
        >>> first, second = (ResNet(depths=(1, 1, 1, 1), base_channels=4) for _ in range(2))
        >>> unused = load_official_weights(second, official_weights(first))
        >>> len(unused), unused[0]
        (19, 'conv1.1.num_batches_tracked')
    """
    form = _closest_form(model, arrays)
    unexpected = [name for name in arrays if name not in form.tensors and not _UNUSED.fullmatch(name)]
    missing = [name for name in form.tensors if name not in arrays]
    if missing or unexpected:
        raise UserError(
            f"expected the {len(form.tensors)} weights of {model.name} by their names in {form.source}, found "
            f"{len(missing)} missing{_examples(missing)} and {len(unexpected)} others{_examples(unexpected)}; "
            "check the architecture and the file"
        )
    for name, tensor in form.tensors.items():
        array = np.asarray(arrays[name])
        if array.shape != tensor.shape:
            raise UserError(
                f"expected shape {tensor.shape} of {name}, found {array.shape}; check width, version and number of "
                "classes"
            )
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"expected floating-point numbers in {name}, found {array.dtype}; check the file")
    for name, tensor in form.tensors.items():
        tensor.variable.assign(tensor.to_ours(np.asarray(arrays[name])))
    return [name for name in arrays if name not in form.tensors]


def official_weights(model: keras.Model, *, source: str | None = None) -> dict[str, np.ndarray]:
    """Returns the weights of a model by their published names, in the published layout.

    The counters of batches, which are unknown here, are 0.

    Args:
        model: network or backbone, see :func:`hamgan.segmentation.published.names.name_forms`.
        source: code base that determines the names; None means the original one.

    Raises:
        ValueError: if there is no such code base for the model.
    """
    forms = {form.source: form for form in name_forms(model)}
    if source is not None and source not in forms:
        raise ValueError(f"source must be one of {tuple(forms)}, received {source!r}")
    form = next(iter(forms.values())) if source is None else forms[source]
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in form.tensors.items():
        value = keras.ops.convert_to_numpy(tensor.variable)
        arrays[name] = np.ascontiguousarray(tensor.to_official(value))
        if name.endswith(".running_var"):
            arrays[f"{name.removesuffix('running_var')}{_COUNTER}"] = np.zeros((), np.int64)
    return arrays


def _closest_form(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> NameForm:
    """Returns the form of names that most of the arrays have; the first of several."""
    return max(name_forms(model), key=lambda form: sum(name in form.tensors for name in arrays))


def _examples(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f" ({shown}{', ...' if len(names) > _SHOWN_NAMES else ''})" if names else ""
