"""Conversion between published checkpoints and Keras models, in both directions."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import keras

from hamgan.errors import UserError, reason_of
from hamgan.files import check_writable
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import find_checkpoint
from hamgan.segmentation.networks.saved_network import load_network
from hamgan.segmentation.published.names import name_forms
from hamgan.segmentation.published.published_networks import build_published, classes_of_weights
from hamgan.segmentation.published.weight_files import check_weight_file, is_weight_file, read_weights, write_weights
from hamgan.segmentation.published.weights import load_official_weights, official_weights

KERAS_ENDING = ".keras"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Result of :func:`convert`.

    Args:
        model: network or backbone.
        taken: names of the tensors that became weights of the model.
        unused: names of the tensors that no network here has: counters of batches, classifiers of ImageNet, auxiliary
            heads.
    """

    model: keras.Model
    taken: tuple[str, ...]
    unused: tuple[str, ...]


def read_published(
    path: str, network: str, *, num_classes: int | None = None, arguments: Mapping[str, Any] | None = None
) -> Conversion:
    """Creates a published network with the weights of a checkpoint. Each tensor is taken, or listed as unused.

    Args:
        path: path of a ``.pth`` or ``.npz`` file with the names of HamNet, PyTorch-Encoding, SegNeXt or mmsegmentation.
        network: element of :data:`hamgan.segmentation.published.published_networks.NETWORKS`.
        num_classes: number of classes; by default, that of the checkpoint.
        arguments: further arguments of the network, such as ``{"rank": 16}``, which a checkpoint does not show.

    Raises:
        UserError: the file cannot be read, the network or an argument is unknown, a tensor is missing, left over or of
            another shape.
    """
    arrays = read_weights(path)
    # An unknown name of a network is an error of build_published.
    classes = num_classes if num_classes is not None else classes_of_weights(arrays)
    model = build_published(network, num_classes=classes, **(arguments or {}))
    unused = load_official_weights(model, arrays)
    left_over = set(unused)
    return Conversion(model, tuple(name for name in arrays if name not in left_over), tuple(unused))


def convert(
    source: str,
    output: str,
    *,
    network: str | None = None,
    num_classes: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    names: str | None = None,
) -> Conversion:
    """Converts weights from one file to another.

    Args:
        source: published checkpoint, ``.pth`` or ``.npz``; model that this function or Keras saved, ``.keras``; or
            folder of a run, whose latest checkpoint is taken.
        output: path of the new file: a model, ``.keras``, or weights by published names, ``.pth`` or ``.npz``.
        network, num_classes, arguments: architecture of a published checkpoint, see :func:`read_published`.
        names: code base whose names to write, "HamNet", "PyTorch-Encoding", "SegNeXt" or "mmsegmentation"; by default,
            the one that published the model.

    Raises:
        UserError: an argument does not fit the files, or as :func:`read_published`.
    """
    _check(source, output, network, names)
    conversion = _read(source, network, num_classes, arguments)
    if output.lower().endswith(KERAS_ENDING):
        save_model(conversion.model, output)
    else:
        form = choose_form(conversion.model, names)
        write_weights(output, official_weights(conversion.model, source=form), source=form)
    return conversion


def choose_form(model: keras.Model, names: str | None) -> str:
    """Returns the code base whose names a model's weights are written with.

    Args:
        model: network or backbone.
        names: code base; None means the one that published the model.

    Raises:
        UserError: nobody published such a model, or not with these names.
    """
    try:
        sources = [form.source for form in name_forms(model)]
    except ValueError as error:
        raise UserError(f"{model.name}: expected a model with published names, found none: {error}") from error
    if names is not None and names not in sources:
        raise UserError(f"names of this model are those of {', '.join(sources)}, found '{names}'; choose one of them")
    return sources[0] if names is None else names


def save_model(model: keras.Model, path: str) -> None:
    """Writes a local Keras file, which appears once it is complete.

    Raises:
        UserError: it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".hamnet-", dir=os.path.dirname(path) or ".") as folder:
            # Keras chooses the format by the ending.
            file = os.path.join(folder, f"model{KERAS_ENDING}")
            model.save(file)
            os.replace(file, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {reason_of(error)}") from error


def read_model(path: str) -> keras.Model:
    """Loads a Keras file of a network or backbone of this package.

    Raises:
        UserError: it cannot be read.
    """
    if not os.path.exists(path):
        raise UserError(f"{path}: expected a Keras file, found nothing; check the path")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: expected a Keras file of this package, found another ({reason_of(error)})") from error
    return model


def _check(source: str, output: str, network: str | None, names: str | None) -> None:
    """Raises UserError, before any work, if the arguments do not fit the files."""
    from_weights, to_model = is_weight_file(source), output.lower().endswith(KERAS_ENDING)
    if from_weights and network is None:
        raise UserError(f"{source}: expected the name of its network beside it, found none; pass --network")
    if not from_weights:
        if not source.lower().endswith(KERAS_ENDING) and not RunDirectory(source).exists():
            raise UserError(
                f"{source}: expected a run, or a file that ends in .pth, .npz or {KERAS_ENDING}; choose one of them"
            )
        if network is not None:
            raise UserError(
                f"--network expects weights by published names, found {source}, which has its network; remove it"
            )
    if to_model and names is not None:
        raise UserError(f"--names expects an output .npz or .pth, found {output}; remove it")
    if not to_model:
        check_weight_file(output)
    if os.path.lexists(output):
        raise UserError(f"expected the name of a new file, found that {output} exists; choose another --output")
    try:
        check_writable(os.path.dirname(output) or ".")
    except OSError as error:
        raise UserError(f"cannot write {output}: {reason_of(error)}") from error


def _read(source: str, network: str | None, num_classes: int | None, arguments: Mapping[str, Any] | None) -> Conversion:
    if network is not None:
        return read_published(source, network, num_classes=num_classes, arguments=arguments)
    model = read_model(source) if source.lower().endswith(KERAS_ENDING) else _read_run(source)
    form = choose_form(model, None)
    return Conversion(model, tuple(next(each.tensors for each in name_forms(model) if each.source == form)), ())


def _read_run(path: str) -> keras.Model:
    directory = RunDirectory(path)
    _, checkpoint = find_checkpoint(directory, "latest")
    return load_network(directory.read_segmentation_config(), checkpoint)
