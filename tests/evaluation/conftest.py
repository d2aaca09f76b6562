import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.directory import RunDirectory
from hamgan.training.loop import train


@pytest.fixture(scope="session")
def trained_run(tiny, tmp_path_factory):
    """A run with checkpoints of steps 0 and 2."""
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
