"""Initial weights of a segmentation network: from another run, or from a published file."""

import dataclasses
import os
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from hamgan.errors import UserError
from hamgan.runs.checkpoints import (
    DamagedCheckpointError,
    checkpoint_sha256,
    read_variables,
    variable_shapes,
)
from hamgan.runs.initialization import Initialization, NetworkInitialization
from hamgan.segmentation.networks.build import NETWORK
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.saved_network import saved_variables
from hamgan.segmentation.published.weight_files import is_weight_file, read_weights
from hamgan.segmentation.published.weights import load_official_weights
from hamgan.training.initial_weights import find_checkpoint

CLASSIFIER = "/classifier/"
"""Part of the names of the weights that may differ: those of other classes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights to start from.

    Args:
        path: path of a checkpoint, without suffix, or of a published file.
        step: training step of the checkpoint; None for a published file.
    """

    path: str
    step: int | None


def find_source(path: str, strategy: tf.distribute.Strategy) -> Source:
    """Finds the weights that a run starts from. In a cluster, all workers must call it, and find the same ones.

    Args:
        path: run folder, whose newest checkpoint is taken, path of a checkpoint in a run folder, or a published file
            (``.npz`` or ``.pth``).
        strategy: strategy of the training.

    Raises:
        UserError: if there is no such run, checkpoint or file, or the run is one of a GAN.
    """
    if is_weight_file(path):
        if not tf.io.gfile.exists(path):
            raise UserError(f"train.init_from {path}: there is no such file; choose another one")
        return Source(path, None)
    run, path, step = find_checkpoint(path, strategy)
    run.read_segmentation_config()
    return Source(path, step)


def initialize(network: SegmentationNetwork, source: Source) -> Initialization:
    """Assigns weights to a network. Call it in the strategy's scope, in every worker.

    From a run, all weights are taken, with the exception of a classifier of another number of classes. A published
    file has the weights of the whole network or of its backbone. Optimizer and step stay unchanged.

    Args:
        network: new network.
        source: result of :func:`find_source`.

    Returns:
        Record of the weights that were taken.

    Raises:
        UserError: if the weights cannot be read, or are those of another network.
    """
    if source.step is None:
        taken = _from_published_file(network, source.path)
        digest = None
    else:
        try:
            taken = _from_checkpoint(network, source.path)
        except DamagedCheckpointError as error:
            raise UserError(f"train.init_from: {error}; choose another checkpoint") from error
        digest = checkpoint_sha256(source.path)
    variables = saved_variables(network)
    return Initialization(
        checkpoint=source.path,
        step=source.step,
        checkpoint_sha256=digest,
        taken_classes=(),
        substituted_classes=(),
        networks=(
            NetworkInitialization(
                network=network.name,
                source=NETWORK if source.step is not None else os.path.basename(source.path),
                taken=tuple(name for name in variables if name in taken),
                adapted=(),
                fresh=tuple(name for name in variables if name not in taken),
                parameters=sum(_size(variable) for variable in variables.values()),
                taken_parameters=sum(_size(variables[name]) for name in taken),
            ),
        ),
    )


def _size(variable: tf.Variable) -> int:
    return int(np.prod(variable.shape))


def _from_checkpoint(network: SegmentationNetwork, path: str) -> set[str]:
    """Assigns the weights of a checkpoint, and returns the names of those that were taken."""
    variables = saved_variables(network)
    shapes = variable_shapes(path)
    fitting = {name for name, variable in variables.items() if shapes.get(name) == tuple(variable.shape)}
    _check_only_classifier_differs(variables, shapes, fitting, path)
    for name, value in read_variables(path, sorted(fitting)).items():
        variables[name].assign(value.astype(variables[name].dtype.as_numpy_dtype))
    return fitting


def _check_only_classifier_differs(
    variables: Mapping[str, tf.Variable], shapes: Mapping[str, tuple[int, ...]], fitting: set[str], path: str
) -> None:
    for name, variable in variables.items():
        is_other_classifier = CLASSIFIER in name and name in shapes
        if name not in fitting and not is_other_classifier:
            raise UserError(
                f"train.init_from {path}: expected {name} of shape {tuple(variable.shape)}, found "
                f"{shapes.get(name, 'none')}; use the same model settings"
            )


def _from_published_file(network: SegmentationNetwork, path: str) -> set[str]:
    """Assigns the weights of a published file, and returns the names of those that were taken."""
    arrays = read_weights(path)
    part: keras.Model = network if _has_head(arrays) else network.backbone
    try:
        load_official_weights(part, arrays)
    except UserError as error:
        raise UserError(f"train.init_from {path}: {error}") from error
    assigned = {id(variable.value) for variable in part.weights}
    return {name for name, variable in saved_variables(network).items() if id(variable) in assigned}


def _has_head(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a file has the weights of a network: those of a backbone are not called so."""
    return any(name.startswith("backbone.") for name in arrays)
