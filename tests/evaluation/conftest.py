import os
import shutil

import numpy as np
import pytest

from hamgan.config import override
from hamgan.evaluation import row_blocks
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.checkpoints import checkpoint_path, delete_checkpoint
from hamgan.runs.directory import RunDirectory


@pytest.fixture(scope="session")
def trained_run(tiny_run, tmp_path_factory):
    """Returns a run with checkpoints at steps 0 and 2."""
    run = RunDirectory(shutil.copytree(tiny_run, str(tmp_path_factory.mktemp("runs") / "run")))
    run.write_config(override(run.read_config(), ["train.steps=2"]))
    for step in (4, 6):
        delete_checkpoint(checkpoint_path(run.checkpoints, step))
    os.remove(run.samples_path(6))
    os.rename(run.samples_path(3), run.samples_path(2))
    run.forget_metrics_after(2)
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
