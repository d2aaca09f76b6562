"""Shared fixtures: the embedded digits data set, a tiny experiment and a run of it."""

import contextlib
import fcntl
import logging
import os
import pathlib
import signal
import socket
import unittest.mock
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Small operations gain nothing from several threads, and pytest uses the other cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import pytest
import tensorflow as tf

from hamgan.config import ExperimentConfig, SegmentationConfig, override
from hamgan.config.presets import digits
from hamgan.config.segmentation_presets import scenes

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
    """The context manager of the fixture ``eager``, for fixtures of a module."""
    return _eager_execution


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


SharedFolder = Callable[[str, Callable[[str], object]], str]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> SharedFolder:
    """A function of (name, make) that returns a folder, which one of the processes makes by ``make(path)``.

    The environment variable may name a folder that several runs of pytest share.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root = pathlib.Path(os.environ.get("HAMGAN_TESTS_SHARED") or root)

    def made_once(name: str, make: Callable[[str], object]) -> str:
        folder = root / name
        with open(f"{folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = pathlib.Path(f"{folder}.done")
            if not done.exists():
                make(str(folder))
                done.touch()
        return str(folder)

    return made_once


@pytest.fixture(scope="session")
def digits_dir(shared_folder: SharedFolder) -> str:
    from hamgan.data.digits import prepare_digits

    return shared_folder("data", prepare_digits)


@pytest.fixture(scope="session")
def tiny(digits_dir: str) -> ExperimentConfig:
    """The digits preset with tiny networks."""
    return override(digits(), [*TINY, f"data.data_dir={digits_dir}"])


@pytest.fixture(scope="session")
def classifier_path(shared_folder: SharedFolder, tiny: ExperimentConfig) -> str:
    """A barely trained digit classifier."""
    from hamgan.evaluation.small_classifier import train_small_classifier

    return shared_folder(
        "classifier", lambda path: train_small_classifier(tiny.data, resolution=32, output=path, steps=20)
    )


# Two discriminator updates, so that a step reads more than one batch.
RUN = (*TINY, "train.discriminator_updates=2", "train.image_every=3")


@pytest.fixture(scope="session")
def tiny_run(shared_folder: SharedFolder, digits_dir: str) -> str:
    """A run of six steps with checkpoints at 0, 2, 4 and 6 and pictures at 0, 3 and 6. Copy it before changes.

    Its steps were executed eagerly: to reach the same weights to the bit, a test uses the fixture ``eager``.
    """
    from hamgan.cli.main import main

    def make(path: str) -> None:
        with _log_levels_restored(), _eager_execution():
            arguments = ["train", "--run", path, "--preset", "digits", "--data_dir", digits_dir, "--override", *RUN]
            assert main(arguments) == 0

    return shared_folder("run", make)


TINY_SCENES = (
    "model.backbone.base_channels=2",
    "model.head.channels=8",
    "model.head.align_channels=8",
    "model.head.rank=2",
    "model.head.num_steps=2",
    "augmentation.crop=33",
    "train.global_batch=4",
    "train.steps=6",
    "train.steps_per_loop=2",
    "train.checkpoint_every=2",
    "train.image_every=6",
    "train.warmup_steps=2",
    "data.shuffle_buffer=50",
    "evaluation.ratios=1",
)


@pytest.fixture(scope="session")
def scenes_dir(shared_folder: SharedFolder) -> str:
    from hamgan.segmentation.data.scenes import prepare_scenes

    return shared_folder("scenes", prepare_scenes)


@pytest.fixture(scope="session")
def tiny_scenes(scenes_dir: str) -> SegmentationConfig:
    """The scenes preset with a tiny network."""
    return override(scenes(), [*TINY_SCENES, f"data.data_dir={scenes_dir}"])


@pytest.fixture(scope="session")
def tiny_segmentation_run(shared_folder: SharedFolder, scenes_dir: str) -> str:
    """A run of six steps with checkpoints at 0, 2, 4 and 6 and pictures at 0 and 6. See :func:`tiny_run`."""
    from hamgan.cli.hamnet import main

    def make(path: str) -> None:
        with _log_levels_restored(), _eager_execution():
            arguments = ["train", "--run", path, "--preset", "scenes", "--data_dir", scenes_dir]
            assert main([*arguments, "--override", *TINY_SCENES]) == 0

    return shared_folder("segmentation_run", make)


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
