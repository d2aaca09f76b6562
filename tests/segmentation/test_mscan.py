import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from published_arrays import relative_error

from hamgan import random_streams
from hamgan.segmentation import MSCAN
from hamgan.segmentation.networks.dropout import Noise
from hamgan.segmentation.networks.mscan import MSCANS
from hamgan.segmentation.networks.mscan_block import MSCANBlock

WIDTHS, DEPTHS = (4, 8, 12, 16), (1, 1, 2, 1)


def small(**arguments):
    return MSCAN(**{"widths": WIDTHS, "depths": DEPTHS, **arguments})


@pytest.fixture(scope="module")
def backbone():
    return small(drop_rate=0.4)


def images(height=40, width=64):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


@pytest.mark.slow
def test_strides(backbone):
    size = (33, 47)
    shapes = backbone.compute_output_shape((2, *size, 3))
    assert shapes == [
        (2, *(math.ceil(each / stride) for each in size), width)
        for stride, width in zip((4, 8, 16, 32), WIDTHS, strict=True)
    ]
    assert [tuple(stage.shape) for stage in backbone(images(*size))] == shapes


def test_published_variants():
    assert {name: (variant.widths, variant.depths, variant.drop_rate) for name, variant in MSCANS.items()} == {
        "tiny": ((32, 64, 160, 256), (3, 3, 5, 2), 0.1),
        "small": ((64, 128, 320, 512), (2, 2, 4, 2), 0.1),
        "base": ((64, 128, 320, 512), (3, 3, 12, 3), 0.1),
        "large": ((64, 128, 320, 512), (3, 5, 27, 3), 0.3),
    }


@pytest.mark.slow
def test_stochastic_depth_rises_linearly(backbone):
    rates = [block.drop1.rate for blocks in backbone.stages for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert [block.drop2.rate for blocks in backbone.stages for block in blocks] == rates


def test_a_block_drops_both_branches_independently():
    block, x = MSCANBlock(2, drop_rate=0.5), np.random.default_rng(0).normal(size=(32, 4, 4, 4)).astype(np.float32)
    block.build(x.shape)
    for scale in (block.scale1, block.scale2):
        scale.assign(np.ones(4))
    outputs = block(x, training=True, noise=Noise(random_streams.fold(0)))
    unchanged = (outputs.numpy() == x).all((1, 2, 3))
    assert 2 < unchanged.sum() < 16
    assert (block(x).numpy() != x).any((1, 2, 3)).all()


@pytest.mark.slow
def test_noise_determines_training(backbone):
    first, again, other = (
        backbone(images(), training=True, noise=Noise(random_streams.fold(seed)))[-1] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != other.numpy()).any()


def test_blocks_start_close_to_the_identity():
    block = MSCANBlock()
    block.build((None, None, None, 4))
    for scale in (block.scale1, block.scale2):
        np.testing.assert_array_equal(scale, np.full(4, 0.01, np.float32))


@pytest.mark.slow
def test_training_moves_the_statistics_by_a_tenth(backbone):
    conv, norm = backbone.stem[0]
    x = conv(images()).numpy().reshape(-1, 2)
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    backbone(images(), training=True)
    np.testing.assert_allclose(norm.moving_mean, 0.9 * mean + 0.1 * x.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, 0.9 * variance + 0.1 * x.var(0, ddof=1), rtol=1e-4)


@pytest.mark.slow
def test_mixed_precision_is_close():
    exact, half = small(drop_rate=0.0), small(drop_rate=0.0, dtype="mixed_bfloat16")
    half.set_weights(exact.get_weights())
    found = half(images())[-1]
    assert found.dtype == "bfloat16"
    assert relative_error(tf.cast(found, tf.float32), exact(images())[-1]) < 5e-2


@pytest.mark.slow
def test_graph_and_xla_equal_eager_execution():
    backbone = small(dtype="float64")
    expected = backbone(images())[-1]
    for jit_compile in (False, True):
        compiled = tf.function(lambda x: backbone(x)[-1], jit_compile=jit_compile)
        assert relative_error(compiled(images()), expected) < 1e-10


@pytest.mark.slow
def test_saved_models_and_checkpoints_keep_everything(tmp_path):
    backbone = small(depths=(1, 1, 1, 1), drop_rate=0.2)
    backbone(images(), training=True)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    assert loaded.get_config() == backbone.get_config()
    path = tf.train.Checkpoint(model=backbone).save(str(tmp_path / "checkpoint"))
    other = small(depths=(1, 1, 1, 1))
    tf.train.Checkpoint(model=other).restore(path)
    for copy in (loaded, other):
        for value, expected in zip(copy.get_weights(), backbone.get_weights(), strict=True):
            np.testing.assert_array_equal(value, expected)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"variant must be one of .*, received 'huge'"):
        MSCAN("huge")
    with pytest.raises(ValueError, match="widths must be four positive numbers"):
        MSCAN(widths=(4, 8, 12))
    with pytest.raises(ValueError, match=r"drop_rate must be in \[0, 1\)"):
        MSCAN(drop_rate=1.0)
