"""Conversion between published TF1 checkpoints and runs of this project."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from hamgan.config import ExperimentConfig, HamburgerConfig, differences, override
from hamgan.config.legacy import current_assignment
from hamgan.config.presets import hamgan_strong
from hamgan.errors import FailedError, UserError, reason_of
from hamgan.files import check_remote, check_writable, write_atomically
from hamgan.networks.build import build_discriminator, build_generator
from hamgan.published.names import GLOBAL_STEP, is_ignored, official_name, official_shape
from hamgan.published.shapes import NOT_RECORDED, Shapes, read_architecture
from hamgan.runs.checkpoints import checkpoint_path, network_variables, open_checkpoint, restore, write_checkpoint
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.trained_weights import WEIGHTS, weights_precision

OFFICIAL_PREFIX = "model.ckpt"
_INCOMPLETE = ".incomplete"
_PARTS = (".data-00000-of-00001", ".index")


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Result of the conversion of a published checkpoint."""

    config: ExperimentConfig
    """Config of the new run."""
    step: int
    """Step of the checkpoint."""
    loaded: tuple[str, ...]
    """Names of the variables that were loaded."""
    ignored: tuple[str, ...]
    """Names of the variables that are not weights."""


def convert_official(
    path: str, out: str, *, preset: ExperimentConfig | None = None, overrides: Iterable[str] = ()
) -> Conversion:
    """Converts a published checkpoint to a run for sampling and evaluation.

    Args:
        path: path of the checkpoint without suffix, local or ``gs://``, such as ``dir/model.ckpt-1234``.
        out: folder of the new run, which must not exist. It appears once it is complete.
        preset: expected config, which also provides the settings that a checkpoint does not record. None infers the
            architecture from the checkpoint, and takes the other settings from hamgan_strong.
        overrides: assignments such as ``model.generator.context.0.rank=16``. Those that a checkpoint records are
            compared with it.

    Returns:
        The config, the step, and the names of loaded and ignored variables.

    Raises:
        UserError: if the checkpoint is missing or damaged or has another architecture, if it has missing, unknown or
            misshapen variables, or if ``out`` exists or is not writable.
        FailedError: if writing fails.
    """
    overrides = list(overrides)
    _check_out(out, out)
    shapes = _shapes(path)
    expected = override(preset or hamgan_strong(), overrides)
    config = dataclasses.replace(expected, model=read_architecture(shapes, expected.model))
    _check_expected(path, expected, config, None if preset is not None else overrides)
    if preset is None:
        config = dataclasses.replace(config, name="official")

    variables = _network_variables(config)
    names = _names(variables, config)
    _check_variables(path, shapes, {names[key]: official_shape(key, tuple(v.shape)) for key, v in variables.items()})
    with _open(path) as reader:
        for key, variable in variables.items():
            variable.assign(tf.cast(tf.reshape(reader.get_tensor(names[key]), variable.shape), variable.dtype))
        step = _step(path, reader, shapes)
    _write_run(config, {**variables, "step": tf.Variable(step, dtype=tf.int64)}, out, step)
    loaded = set(names.values())
    return Conversion(config, step, tuple(sorted(loaded)), tuple(sorted(shapes.keys() - loaded)))


def convert_to_official(config: ExperimentConfig, path: str, out: str, *, step: int, weights: str = "raw") -> str:
    """Converts a run's networks to a published TF1 checkpoint in float32.

    Args:
        config: config of the run.
        path: path of the run's checkpoint without suffix.
        out: folder of the new checkpoint.
        step: step of the checkpoint.
        weights: generator weights to convert: "raw" or "ema" (the moving average).

    Returns:
        The path of the new checkpoint without suffix, ``out/model.ckpt-STEP``.

    Raises:
        UserError: if the new checkpoint exists or ``out`` is not writable, or if the run's checkpoint is missing,
            damaged or of another architecture.
        FailedError: if writing fails.
    """
    target = os.path.join(out, f"{OFFICIAL_PREFIX}-{step}")
    _check_out(out, f"{target}.index")
    _check_published(config)
    precision = weights_precision(config)
    generator = build_generator(config.model, name=WEIGHTS[weights], precision=precision)
    discriminator = build_discriminator(config.model, precision=precision)
    for network in (generator, discriminator):
        restore(path, network_variables(network), part=network.name)
    variables = {
        key.replace(WEIGHTS[weights], "generator", 1): variable
        for network in (generator, discriminator)
        for key, variable in network_variables(network).items()
    }
    names = _names(variables, config)
    tensors = {
        names[key]: tf.cast(tf.reshape(variable, official_shape(key, tuple(variable.shape))), tf.float32)
        for key, variable in variables.items()
    }
    tensors[GLOBAL_STEP] = tf.constant(step, tf.int64)
    try:
        _save(target, tensors)
        # tf.train.latest_checkpoint reads this file. TensorFlow's function that writes it logs a deprecation warning.
        name = os.path.basename(target)
        state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        write_atomically(os.path.join(out, "checkpoint"), state.encode())
    except (OSError, tf.errors.OpError) as error:
        raise FailedError(f"cannot write {target}: {reason_of(error)}") from error
    return target


def _check_published(config: ExperimentConfig) -> None:
    """Raises UserError if a network has channels or context modules that the published format does not support."""
    if config.model.channels != 3:
        raise UserError(f"published networks have RGB images; model.channels is {config.model.channels}")
    for name in ("generator", "discriminator"):
        modules = [module.module for module in getattr(config.model, name).context]
        if modules not in ([], ["hamburger"]):
            raise UserError(
                f"published networks have at most one Hamburger; model.{name}.context has {', '.join(modules)}"
            )


def _check_out(folder: str, target: str) -> None:
    """Raises UserError if the target exists or the folder is not writable."""
    check_remote(folder)
    try:
        if tf.io.gfile.exists(target):
            raise UserError(f"{target} exists; choose another --out")
        check_writable(folder)
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"--out {folder} is not writable: {reason_of(error)}") from error


def _save(target: str, tensors: Mapping[str, tf.Tensor]) -> None:
    """Writes a TF1 checkpoint, which appears once it is complete."""
    folder, name = os.path.split(target + _INCOMPLETE)
    tf.io.gfile.makedirs(folder)
    ordered = sorted(tensors)
    try:
        # TF1's Saver uses the same operation.
        tf.raw_ops.SaveV2(
            prefix=target + _INCOMPLETE,
            tensor_names=ordered,
            shape_and_slices=[""] * len(ordered),
            tensors=[tensors[key] for key in ordered],
        )
        # The index comes last, because readers take it as the sign of a complete checkpoint.
        for part in _PARTS:
            tf.io.gfile.rename(target + _INCOMPLETE + part, target + part, overwrite=True)
    except BaseException:
        with contextlib.suppress(OSError, tf.errors.OpError):
            for left in tf.io.gfile.listdir(folder):
                if left.startswith(name):
                    tf.io.gfile.remove(os.path.join(folder, left))
        raise


def _shapes(path: str) -> Shapes:
    with _open(path) as reader:
        return {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}


@contextlib.contextmanager
def _open(path: str) -> Iterator[Any]:
    try:
        if not tf.io.gfile.exists(f"{path}.index"):
            raise UserError(
                f"no checkpoint {path}: there is no {path}.index; expected a path such as DIR/{OFFICIAL_PREFIX}-1234"
            )
        with open_checkpoint(path) as reader:
            yield reader
    except (tf.errors.OpError, IndexError, RuntimeError, ValueError) as error:
        raise UserError(f"checkpoint {path} cannot be read: {reason_of(error)}") from error


def _check_expected(
    path: str, expected: ExperimentConfig, found: ExperimentConfig, overrides: list[str] | None
) -> None:
    """Raises UserError if the checkpoint differs from the preset or, if ``overrides`` is a list, from those."""
    different = differences(expected, found)
    if overrides is not None:
        given = {current_assignment(assignment.partition("=")[0]) for assignment in overrides}
        different = {field: values for field, values in different.items() if field in given}
    if different:
        listed = "; ".join(f"expected {field} {here}, found {there}" for field, (here, there) in different.items())
        raise UserError(f"checkpoint {path} has another architecture: {listed}")


def _network_variables(config: ExperimentConfig) -> dict[str, tf.Variable]:
    precision = weights_precision(config)
    networks = (
        build_generator(config.model, precision=precision),
        build_discriminator(config.model, precision=precision),
    )
    return {key: variable for network in networks for key, variable in network_variables(network).items()}


def _hamburgers(config: ExperimentConfig, network: str) -> list[HamburgerConfig]:
    return [module for module in getattr(config.model, network).context if isinstance(module, HamburgerConfig)]


def _names(variables: Iterable[str], config: ExperimentConfig) -> dict[str, str]:
    """Returns the published name of each variable."""
    versions = {
        name: next((module.version for module in _hamburgers(config, name)), "v1")
        for name in ("generator", "discriminator")
    }
    return {key: official_name(key, version=versions[key.split("/")[0]]) for key in variables}


def _check_variables(path: str, shapes: Shapes, expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = sorted(expected.keys() - shapes.keys())
    surplus = sorted(name for name in shapes.keys() - expected.keys() if not is_ignored(name))
    misshapen = sorted(
        f"{name} (expected {shape}, found {shapes[name]})"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    )
    problems = [
        f"{title}: {', '.join(names)}"
        for title, names in (("missing", missing), ("unknown", surplus), ("misshapen", misshapen))
        if names
    ]
    if problems:
        raise UserError(f"checkpoint {path} does not match the networks; {'; '.join(problems)}")


def _step(path: str, reader: Any, shapes: Shapes) -> int:
    if GLOBAL_STEP in shapes:
        return int(reader.get_tensor(GLOBAL_STEP))
    suffix = re.search(r"-(\d+)$", path)
    if suffix is None:
        raise UserError(f"checkpoint {path} has no {GLOBAL_STEP}, and its name does not end in -STEP; rename it")
    return int(suffix[1])


def _write_run(config: ExperimentConfig, variables: Mapping[str, tf.Variable], out: str, step: int) -> None:
    temporary = out.rstrip("/") + _INCOMPLETE
    try:
        if tf.io.gfile.exists(temporary):
            tf.io.gfile.rmtree(temporary)
        run = RunDirectory(temporary)
        run.create(config)
        write_checkpoint(checkpoint_path(run.checkpoints, step), variables)
        tf.io.gfile.rename(temporary, out)
    except (OSError, tf.errors.OpError) as error:
        with contextlib.suppress(OSError, tf.errors.OpError):
            tf.io.gfile.rmtree(temporary)
        raise FailedError(f"cannot write {out}: {reason_of(error)}") from error


def not_recorded(config: ExperimentConfig) -> dict[str, object]:
    """Returns the settings of a converted run that its checkpoint does not record, by dotted path."""
    found: dict[str, object] = {}
    for name in ("generator", "discriminator"):
        for index, hamburger in enumerate(_hamburgers(config, name)):
            found.update({f"model.{name}.context.{index}.{field}": getattr(hamburger, field) for field in NOT_RECORDED})
    return found
