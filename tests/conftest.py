"""Shared fixtures: the embedded digits, prepared once, and a tiny experiment on them."""

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

# Four virtual CPU devices, so that tests can spread a batch over replicas; before anything runs.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

# Training sets both for its whole process: set them first, so that no test depends on which came before it.
tf.config.experimental.enable_op_determinism()
tf.config.optimizer.set_experimental_options({"remapping": False})


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """Weights and other numbers that nobody seeds are the same in any order of the tests."""
    keras.utils.set_random_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """See :func:`pytest_fixture_setup`."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Log levels, and what else a test may change for its process, are as they were before it."""
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
    """The strategy of this process: the reductions of a second one over CPU devices would collide with its own."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    from hamgan.data.digits import prepare_digits

    path = str(tmp_path_factory.mktemp("data"))
    prepare_digits(path)
    return path


@pytest.fixture(scope="session")
def tiny(digits_dir: str) -> ExperimentConfig:
    """The digits preset with the smallest networks."""
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
    """A function that returns so many ports of this machine, which nobody else is given while the test runs."""
    sockets: list[socket.socket] = []

    def reserve(count: int) -> list[int]:
        reserved = [socket.socket() for _ in range(count)]
        sockets.extend(reserved)
        for each in reserved:
            # Bound and not listening: a server that asks for this very port gets it, as TensorFlow's do.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in reserved]

    yield reserve
    for each in sockets:
        each.close()
