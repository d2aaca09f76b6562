import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.data.dataset import ClassificationDataset
from hamgan.training.logit_probe import PROBE_IMAGES, LogitProbe
from hamgan.training.state import TrainState

pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_logits_are_those_of_the_first_images_of_each_split(tiny, precision):
    tiny = override(tiny, [f"train.precision={precision}"])
    state, dataset = TrainState(tiny), ClassificationDataset(tiny.data)
    state.discriminator.context[0].sigma.assign(0.0)  # The random bases have no influence.
    before = [variable.numpy() for variable in state.variables().values()]
    found = LogitProbe(tiny, dataset, state, tf.distribute.get_strategy())()
    for variable, value in zip(state.variables().values(), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    for split, name in (("train", "train_logits"), ("validation", "validation_logits")):
        batches = dataset.evaluation_batches(split, resolution=32, batch=PROBE_IMAGES)
        images, labels = next(iter(batches))
        expected = np.mean(state.discriminator(images, labels))
        assert found[name] == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(found["generated_logits"])
