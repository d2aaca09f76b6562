import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.evaluation import row_blocks
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.directory import RunDirectory
from hamgan.training.loop import train


@pytest.fixture(scope="session")
def trained_run(tiny, tmp_path_factory):
    """Returns a run with checkpoints at steps 0 and 2."""
    run = RunDirectory(str(tmp_path_factory.mktemp("runs") / "run"))
    train(override(tiny, ["train.steps=2", "train.image_every=2"]), run, tf.distribute.get_strategy())
    return run


@pytest.fixture(scope="session")
def evaluation_config(trained_run, classifier_path):
    settings = [f"classifier={classifier_path}", "neighbors_samples=20"]
    return override(trained_run.read_config(), [f"evaluation.{setting}" for setting in settings])


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("features"))


@pytest.fixture
def make_evaluator(evaluation_config, cache_dir):
    def make(*overrides, strategy=None):
        return Evaluator(override(evaluation_config, overrides), strategy, cache_dir)

    return make


WIDTH = 64
ROWS = 5000


@pytest.fixture(scope="session")
def real():
    rng = np.random.default_rng(0)
    return np.maximum(rng.normal(size=(ROWS, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH)) * 0.2, 0).astype(np.float32)


@pytest.fixture(scope="session")
def fake():
    rng = np.random.default_rng(1)
    return np.maximum(rng.normal(size=(ROWS, WIDTH)) @ rng.normal(size=(WIDTH, WIDTH)) * 0.2 + 0.1, 0).astype(
        np.float32
    )


@pytest.fixture(scope="session")
def logits():
    return (np.random.default_rng(2).normal(size=(ROWS, 100)) * 3).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(row_blocks, "BLOCK_ROWS", 700)
