"""Initial weights from another run, for fine-tuning."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.distribution.strategies import agreed, is_chief
from hamgan.errors import UserError
from hamgan.layers import ConditionalBatchNormalization, SNEmbedding
from hamgan.layers.batch_normalization import batch_normalization_layers
from hamgan.layers.spectral_normalization import spectrally_normalized_layers
from hamgan.networks.network import Network
from hamgan.runs.checkpoints import (
    EMA_NAME,
    PREFIX,
    DamagedCheckpointError,
    checkpoint_path,
    checkpoint_sha256,
    checkpoint_steps,
    network_variables,
    read_variables,
    variable_shapes,
)
from hamgan.runs.directory import RunDirectory
from hamgan.runs.initialization import Initialization, NetworkInitialization
from hamgan.training.class_mapping import Classes, matching_labels, starting_labels
from hamgan.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Source:
    """A checkpoint to start from."""

    path: str
    """Path of the checkpoint, without suffix."""
    step: int
    """Training step of the checkpoint."""
    classes: Classes
    """Classes of its run."""


def find_source(path: str, strategy: tf.distribute.Strategy) -> Source:
    """Finds the checkpoint that a run starts from. In a cluster, all workers must call it, and find the same one.

    Args:
        path: run folder, whose newest checkpoint is taken, or path of a checkpoint in a run folder.
        strategy: strategy of the training.

    Raises:
        UserError: if there is no run or no checkpoint, or it cannot be read.
    """
    run, path, step = find_checkpoint(path, strategy)
    config = run.read_config()
    names = None
    if run.records_class_names():
        names = tuple(run.read_class_names(config.model.num_classes))
        if len(names) != config.model.num_classes:
            raise UserError(
                f"{run.class_names_path} is damaged (expected {config.model.num_classes} names, found {len(names)})"
            )
    return Source(path, step, Classes(config.data.dataset, config.model.num_classes, names))


def find_checkpoint(path: str, strategy: tf.distribute.Strategy) -> tuple[RunDirectory, str, int]:
    """Finds the checkpoint that ``train.init_from`` names. In a cluster, all workers must call it.

    Args:
        path: run folder, whose newest checkpoint is taken, or path of a checkpoint in a run folder.
        strategy: strategy of the training.

    Returns:
        The run, and path (without suffix) and step of the checkpoint.

    Raises:
        UserError: if there is no run or no checkpoint.
    """
    run = RunDirectory(path)
    if run.exists():
        steps = checkpoint_steps(run.checkpoints) if is_chief(strategy) else []
        step = agreed(strategy, steps[-1] if steps else -1)
        if step < 0:
            raise UserError(f"train.init_from {path}: the run has no checkpoint to start from; choose another run")
        path = checkpoint_path(run.checkpoints, step)
    else:
        path = path.removesuffix(".index")
        match = re.fullmatch(rf"{PREFIX}-(\d+)", os.path.basename(path))
        run = RunDirectory(os.path.dirname(os.path.dirname(path)))
        if match is None or not run.exists() or not tf.io.gfile.exists(f"{path}.index"):
            raise UserError(
                f"train.init_from {path}: expected a run folder, or a checkpoint of a run such as "
                f"RUN/checkpoints/{PREFIX}-1000; found neither"
            )
        step = int(match[1])
    return run, path, step


def initialize(
    state: TrainState, source: Source, config: ExperimentConfig, class_names: Sequence[str]
) -> Initialization:
    """Assigns the weights of a checkpoint to the networks. Call it in the strategy's scope, in every worker.

    A network takes each module, such as a block or a context module, that the checkpoint has with the same name and
    weights of the same shapes. Other modules keep their weights. Weights with a row for each class are taken by class;
    classes that the source does not have start from other classes, see
    :func:`hamgan.training.class_mapping.starting_labels`. The moving average starts from the source's, or from its
    generator. The optimizers and the step stay unchanged.

    Args:
        state: new training state.
        source: result of :func:`find_source`.
        config: config of the new run.
        class_names: name of each class of the new run.

    Returns:
        Record of the weights that were taken.

    Raises:
        UserError: if the checkpoint is missing or damaged, or nothing of a network can be taken.
    """
    classes = Classes(config.data.dataset, config.model.num_classes, tuple(class_names))
    matches = matching_labels(source.classes, classes)
    labels = starting_labels(matches, source.classes.count)
    try:
        networks = _initialize_all(state, source, labels, [label is not None for label in matches])
    except DamagedCheckpointError as error:
        raise UserError(f"train.init_from: {error}; choose another checkpoint") from error
    return Initialization(
        checkpoint=source.path,
        step=source.step,
        checkpoint_sha256=checkpoint_sha256(source.path),
        taken_classes=tuple(name for name, match in zip(class_names, matches, strict=True) if match is not None),
        substituted_classes=tuple(
            (name, source.classes.name(label))
            for name, match, label in zip(class_names, matches, labels, strict=True)
            if match is None
        ),
        networks=networks,
    )


def _initialize_all(
    state: TrainState, source: Source, labels: Sequence[int], is_match: Sequence[bool]
) -> tuple[NetworkInitialization, ...]:
    shapes = variable_shapes(source.path)
    has_average = any(name.startswith(f"{EMA_NAME}/") for name in shapes)
    networks: list[tuple[Network, str]] = [(state.generator, "generator"), (state.discriminator, "discriminator")]
    if state.ema_generator is not None:
        networks.append((state.ema_generator, EMA_NAME if has_average else "generator"))
    return tuple(_initialize(network, part, source, shapes, labels, is_match) for network, part in networks)


def _initialize(
    network: Network,
    part: str,
    source: Source,
    shapes: Mapping[str, tuple[int, ...]],
    labels: Sequence[int],
    is_match: Sequence[bool],
) -> NetworkInitialization:
    """Assigns the weights of one network, which the checkpoint calls ``part``.

    Class i starts from the source's class ``labels[i]``, which is the same one if ``is_match[i]``.
    """
    variables = network_variables(network)
    # Name in the checkpoint of each variable.
    names = {name: part + name.removeprefix(network.name) for name in variables}
    tables = _class_tables(network)
    expected = {
        names[name]: (source.classes.count, *variable.shape[1:]) if name in tables else tuple(variable.shape)
        for name, variable in variables.items()
    }
    found = {name: shape for name, shape in shapes.items() if name.startswith(f"{part}/")}
    if not found:
        raise UserError(f"train.init_from: checkpoint {source.path} has no weights of the {part.replace('_', ' ')}")
    unlike = {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}
    # Modules as a whole: a layer's weights are of no use without those that made its input.
    unlike_modules = {_module(name) for name in unlike}
    fitting = [name for name in variables if _module(name) not in unlike_modules]
    if not fitting:
        name = min(unlike)
        raise UserError(
            f"train.init_from: nothing of the {network.name} fits the one in {source.path}, such as {name}: expected "
            f"shape {expected.get(name, 'none')}, found {found.get(name, 'none')}; use the same model settings"
        )
    values = read_variables(source.path, [names[name] for name in fitting])
    taken_parameters = 0
    for name in fitting:
        variable, value = variables[name], values[names[name]]
        if name in tables:
            taken_parameters += value[0].size * sum(is_match)
            value = value[list(labels)]
        else:
            taken_parameters += value.size
        variable.assign(value.astype(variable.dtype.as_numpy_dtype))
    adapted = set() if all(is_match) else tables
    return NetworkInitialization(
        network=network.name,
        source=part,
        taken=tuple(name for name in fitting if name not in adapted),
        adapted=tuple(name for name in fitting if name in adapted),
        fresh=tuple(name for name in variables if _module(name) in unlike_modules),
        parameters=sum(int(np.prod(variable.shape)) for variable in variables.values()),
        taken_parameters=taken_parameters,
    )


def _module(name: str) -> str:
    """Module of a network that a weight belongs to, such as "block1" of "generator/block1/conv1/kernel"."""
    return name.split("/")[1]


def _class_tables(network: Network) -> set[str]:
    """Names of the weights with one row for each class."""
    norms = [layer for layer in batch_normalization_layers(network) if isinstance(layer, ConditionalBatchNormalization)]
    embeddings = [layer for layer in spectrally_normalized_layers(network) if isinstance(layer, SNEmbedding)]
    tables = [table for norm in norms for table in (norm.gamma, norm.beta)] + [layer.kernel for layer in embeddings]
    return {table.path for table in tables}
