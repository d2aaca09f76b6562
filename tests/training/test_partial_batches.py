import numpy as np
import pytest

from hamgan.networks import Generator
from hamgan.training.partial_batches import PartialBatches

MOMENTUM = 0.75


@pytest.fixture(scope="module")
def generator():
    return Generator(resolution=32, num_classes=3, base_channels=2, z_dim=4, batch_norm_momentum=MOMENTUM)


def test_parts_update_moving_averages_by_the_mean_of_their_statistics_and_u_once(generator):
    z, labels, _ = generator.draw_inputs(seed=1, count=6)
    layer, dense = generator.blocks[0].norm1, generator.dense
    kernel = dense.normalized_kernel(training=False)
    before = layer.moving_mean.numpy()
    u = dense.u.numpy()
    parts = PartialBatches(generator, 2)
    parts.begin()
    images = [parts(z[rows], labels[rows]).numpy() for rows in (slice(0, 3), slice(3, 6))]
    np.testing.assert_array_equal(dense.u.numpy(), u)
    parts.end()
    assert not np.array_equal(dense.u.numpy(), u)
    hidden = (z @ kernel + dense.bias.value).numpy().reshape(2, 3, 4, 4, -1)
    mean_of_parts = hidden.mean(axis=(1, 2, 3)).mean(axis=0)
    expected = MOMENTUM * before + (1 - MOMENTUM) * mean_of_parts
    np.testing.assert_allclose(layer.moving_mean.numpy(), expected, rtol=1e-5, atol=1e-6)
    # Each part is normalised by its own statistics.
    alone = generator(z[3:], labels[3:], training=False, statistics="batch")
    assert not np.allclose(images[1], alone)  # u has moved since.
    dense.u.assign(u)


def test_one_part_is_a_call_in_training_mode(generator):
    z, labels, _ = generator.draw_inputs(seed=2, count=3)
    other = Generator.from_config(generator.get_config())
    for target, source in zip(other.weights, generator.weights, strict=True):
        target.assign(source)
    whole = PartialBatches(generator, 1)
    whole.begin()
    images = whole(z, labels)
    whole.end()
    np.testing.assert_array_equal(images, other(z, labels, training=True))
    for one, two in zip(generator.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=one.path)
