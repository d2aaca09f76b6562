import module_checks
import numpy as np
import pytest
from golden_files import check

from hamgan.layers import SqueezeExcitation


def dense(weight):
    return weight.T[np.newaxis, np.newaxis]


NAMES = {
    "se_xmu": {"fc.0.weight": ("squeeze.kernel", dense), "fc.2.weight": ("excite.kernel", dense)},
    "se_torchvision": {
        "fc1.weight": "squeeze.kernel",
        "fc1.bias": "squeeze.bias",
        "fc2.weight": "excite.kernel",
        "fc2.bias": "excite.bias",
    },
}


def module(use_bias=False, dtype="float64", **arguments):
    return SqueezeExcitation(reduction=4, use_bias=use_bias, spectral_norm=False, dtype=dtype, **arguments)


def context(layer, x):
    hidden = np.maximum(module_checks.conv(layer.squeeze, x.mean((1, 2), keepdims=True)), 0)
    return x * module_checks.sigmoid(module_checks.conv(layer.excite, hidden))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_branch_matches_the_published_code(name, dtype):
    """The published module is the branch alone."""

    def make(dtype):
        return module(use_bias=name == "se_torchvision", dtype=dtype)

    check(name, make, NAMES[name], output=lambda layer, x, training: layer.context(x, training=training), dtype=dtype)


@pytest.mark.parametrize("use_bias", [False, True])
def test_matches_the_equation(use_bias):
    module_checks.check_reference(module(use_bias), context)


def test_gradients_match_finite_differences():
    module_checks.check_gradients(module(use_bias=True))


def test_one_channel_remains():
    layer = SqueezeExcitation(reduction=16)
    layer.build((None, None, None, 8))
    assert layer.squeeze.kernel.shape == (1, 1, 8, 1)


def test_invalid_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction must be positive, received 0"):
        SqueezeExcitation(reduction=0)
