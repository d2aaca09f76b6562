"""Shared fixtures: the embedded digits data set, a tiny experiment and a run of it."""

import contextlib
import fcntl
import os
import pathlib
import socket
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Small operations gain nothing from several threads, and pytest uses the other cores.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import pytest

from hamgan.config import ExperimentConfig, SegmentationConfig, override
from hamgan.config.presets import digits
from hamgan.config.segmentation_presets import scenes


def pytest_configure(config: pytest.Config) -> None:
    """Imports TensorFlow, except in a process that only hands tests to others."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("tensorflow_process")


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


EagerExecution = Callable[[], contextlib.AbstractContextManager[None]]
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
def tiny_run(shared_folder: SharedFolder, digits_dir: str, eager_execution: EagerExecution) -> str:
    """A run of six steps with checkpoints at 0, 2, 4 and 6 and pictures at 0, 3 and 6. Copy it before changes.

    Its steps were executed eagerly: to reach the same weights to the bit, a test uses the fixture ``eager``.
    """
    from hamgan.cli.main import main

    def make(path: str) -> None:
        with eager_execution():
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
def tiny_segmentation_run(shared_folder: SharedFolder, scenes_dir: str, eager_execution: EagerExecution) -> str:
    """A run of six steps with checkpoints at 0, 2, 4 and 6 and pictures at 0 and 6. See :func:`tiny_run`."""
    from hamgan.cli.hamnet import main

    def make(path: str) -> None:
        with eager_execution():
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
