import module_checks
import numpy as np
import pytest
from golden_files import check

from hamgan.layers import ChannelAttention


def module(dtype="float64"):
    return ChannelAttention(dtype=dtype)


def context(layer, x):
    outputs = np.zeros_like(x)
    for image, output in zip(x, outputs, strict=True):
        for channel in range(x.shape[-1]):
            similarities = np.array([np.sum(image[..., channel] * image[..., other]) for other in range(x.shape[-1])])
            output[..., channel] = image @ module_checks.softmax(-similarities, axis=0)
    return outputs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_matches_the_published_code(dtype):
    check("danet_cam", lambda dtype: module(dtype), {"gamma.scale": "sigma"}, dtype=dtype)


def test_matches_the_equation():
    module_checks.check_reference(module(), context)


def test_gradients_match_finite_differences():
    module_checks.check_gradients(module())


def test_a_channel_attends_least_to_itself():
    """The published sign: two equal channels and their negative."""
    first = np.random.default_rng(0).normal(size=(1, 4, 6, 1))
    x = np.concatenate([first, first, -first], axis=-1)
    layer = module()
    layer.build(x.shape)
    np.testing.assert_allclose(layer.context(x), np.concatenate([-first, -first, first], axis=-1), atol=1e-6)
