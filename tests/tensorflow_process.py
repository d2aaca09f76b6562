"""The process that runs tests: settings of TensorFlow, seeds, and state that a test has to leave unchanged.

A plugin of pytest, because a process that only hands tests to others need not import TensorFlow.
"""

import contextlib
import logging
import os
import signal
import socket
import unittest.mock
from collections.abc import Callable, Iterator

import keras
import pytest
import tensorflow as tf

# Four virtual CPU devices for tests with several replicas; must precede any TensorFlow operation.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

# Training sets both for its process. Setting them first makes tests independent of their order.
tf.config.experimental.enable_op_determinism()
tf.config.optimizer.set_experimental_options({"remapping": False})

# Once, because TensorFlow drops all kernels of eager operations when it gets a seed. Nothing in the tests depends on
# the state of TensorFlow's own generators.
tf.random.set_seed(0)


def _ignore(seed: int) -> None:
    pass


def _seed_generators() -> None:
    """Seeds Python, NumPy and Keras, so that unseeded weights do not depend on the order of the tests."""
    with unittest.mock.patch.object(tf.random, "set_seed", _ignore):
        keras.utils.set_random_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """See :func:`_seed_generators`."""
    _seed_generators()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """See :func:`_seed_generators`."""
    _seed_generators()


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Restores log levels, and checks that a test leaves other process-wide settings unchanged."""
    before = _other_process_state()
    with _log_levels_restored():
        yield
    assert _other_process_state() == before


@contextlib.contextmanager
def _log_levels_restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "data_prep", "hamgan")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def _other_process_state() -> dict[str, object]:
    return {
        "folder": os.getcwd(),
        "SIGTERM": signal.getsignal(signal.SIGTERM),
        "time limit of sockets": socket.getdefaulttimeout(),
        "floating-point type": keras.config.floatx(),
        "precision": keras.config.dtype_policy().name,
        "eager execution": tf.config.functions_run_eagerly(),
    }


@contextlib.contextmanager
def _eager_execution() -> Iterator[None]:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        with _log_levels_restored():
            yield
    finally:
        tf.config.run_functions_eagerly(before)


@pytest.fixture
def eager() -> Iterator[None]:
    """Functions are not compiled, which takes longer than a few steps of tiny networks.

    ``tests/training/test_train_function.py`` compares compiled steps with eager ones.
    """
    with _eager_execution():
        yield


@pytest.fixture(scope="session")
def eager_execution() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """The context manager of the fixture ``eager``, for other fixtures; it restores log levels, too."""
    return _eager_execution


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    """A strategy with two replicas; the reductions of a second strategy on CPU devices would collide with its own."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
