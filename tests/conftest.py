"""Shared fixtures: the embedded digits data set and a tiny experiment."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import tensorflow as tf

from hamgan.config import ExperimentConfig, override
from hamgan.config.presets import digits

# Four virtual CPU devices for tests with several replicas; must precede any TensorFlow operation.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

# Training sets both for its process. Setting them first makes tests independent of their order.
tf.config.experimental.enable_op_determinism()
tf.config.optimizer.set_experimental_options({"remapping": False})


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Seeds all generators, so that unseeded weights do not depend on the order of the tests."""
    keras.utils.set_random_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """See :func:`pytest_fixture_setup`."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Restores log levels, and checks that a test leaves other process-wide settings unchanged."""
    loggers = [logging.getLogger(name) for name in (None, "data_prep", "hamgan")]
    levels = [logger.level for logger in loggers]
    before = _other_process_state()
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    assert _other_process_state() == before


def _other_process_state() -> dict[str, object]:
    return {
        "folder": os.getcwd(),
        "SIGTERM": signal.getsignal(signal.SIGTERM),
        "time limit of sockets": socket.getdefaulttimeout(),
        "floating-point type": keras.config.floatx(),
        "precision": keras.config.dtype_policy().name,
    }


TINY = (
    "model.generator.base_channels=2",
    "model.generator.z_dim=6",
    "model.generator.context.0.latent_dim=4",
    "model.generator.context.0.rank=2",
    "model.generator.context.0.num_steps=2",
    "model.discriminator.base_channels=2",
    "model.discriminator.context.0.latent_dim=4",
    "model.discriminator.context.0.rank=2",
    "model.discriminator.context.0.num_steps=2",
    "train.global_batch=4",
    "train.steps=6",
    "train.steps_per_loop=2",
    "train.checkpoint_every=2",
    "train.image_every=0",
    "evaluation.num_samples=24",
    "evaluation.batch=8",
)


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """A strategy with two replicas; the reductions of a second strategy on CPU devices would collide with its own."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    from hamgan.data.digits import prepare_digits

    path = str(tmp_path_factory.mktemp("data"))
    prepare_digits(path)
    return path


@pytest.fixture(scope="session")
def tiny(digits_dir: str) -> ExperimentConfig:
    """The digits preset with tiny networks."""
    return override(digits(), [*TINY, f"data.data_dir={digits_dir}"])


@pytest.fixture(scope="session")
def classifier_path(tmp_path_factory: pytest.TempPathFactory, tiny: ExperimentConfig) -> str:
    """A barely trained digit classifier."""
    from hamgan.evaluation.small_classifier import train_small_classifier

    path = str(tmp_path_factory.mktemp("classifier") / "digits")
    train_small_classifier(tiny.data, resolution=32, output=path, steps=20)
    return path


@pytest.fixture
def free_ports() -> Iterator[Callable[[int], list[int]]]:
    """A function that reserves a number of local ports for the duration of the test."""
    sockets: list[socket.socket] = []

    def reserve(count: int) -> list[int]:
        reserved = [socket.socket() for _ in range(count)]
        sockets.extend(reserved)
        for each in reserved:
            # Bound but not listening, so TensorFlow's servers can still use the port.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in reserved]

    yield reserve
    for each in sockets:
        each.close()
