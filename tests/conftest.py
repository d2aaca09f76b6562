"""Shared fixtures: the embedded digits, prepared once, and a tiny experiment on them."""

import os
import socket
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf

from hamgan.config import ExperimentConfig, override
from hamgan.presets import digits

# Four virtual CPU devices, so that tests can spread a batch over replicas; before anything runs.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

TINY = (
    "model.generator.base_channels=2",
    "model.generator.z_dim=6",
    "model.generator.hamburger.latent_dim=4",
    "model.generator.hamburger.rank=2",
    "model.generator.hamburger.num_steps=2",
    "model.discriminator.base_channels=2",
    "model.discriminator.hamburger.latent_dim=4",
    "model.discriminator.hamburger.rank=2",
    "model.discriminator.hamburger.num_steps=2",
    "train.global_batch=4",
    "train.steps=6",
    "train.steps_per_loop=2",
    "train.checkpoint_every=2",
    "train.image_every=0",
    "evaluation.num_samples=24",
    "evaluation.batch=8",
)


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
def free_ports() -> Callable[[int], list[int]]:
    """A function that returns so many free ports of this machine."""

    def find(count: int) -> list[int]:
        sockets = [socket.socket() for _ in range(count)]
        try:
            for free in sockets:
                free.bind(("localhost", 0))
            return [free.getsockname()[1] for free in sockets]
        finally:
            for free in sockets:
                free.close()

    return find
