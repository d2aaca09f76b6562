import module_checks
import numpy as np
import pytest
from golden_files import check, load
from keras import ops
from published_batch_norm import batch_norm_names, published_residual

from hamgan.layers import ExternalAttention


def module(dtype="float64", **arguments):
    return ExternalAttention(**{"num_memories": 8, **arguments}, spectral_norm=False, dtype=dtype)


def matrix(weight):
    """(out, in) or (out, in, 1) becomes the kernel of a 1x1 convolution."""
    return weight.reshape(weight.shape[:2]).T[np.newaxis, np.newaxis]


def context(layer, x):
    features = module_checks.conv(layer.conv_in, x) if layer.convolutions else x
    key, value = (ops.convert_to_numpy(memory.kernel)[0, 0] for memory in (layer.memory_key, layer.memory_value))
    attention = module_checks.softmax((features @ key).reshape(len(x), -1, layer.num_memories), axis=1)
    attention = attention / (layer.epsilon + attention.sum(-1, keepdims=True))
    outputs = (attention @ value).reshape(x.shape)
    return module_checks.conv(layer.conv_out, outputs) if layer.convolutions else outputs


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_equation_matches_the_published_code(dtype):
    """The published module is the branch alone, without epsilon."""
    check(
        "external_xmu",
        lambda dtype: module(dtype, convolutions=False, epsilon=0.0),
        {"mk.weight": ("memory_key.kernel", matrix), "mv.weight": ("memory_value.kernel", matrix)},
        output=lambda layer, x, training: layer.context(x, training=training),
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["external_eanet_train", "external_eanet_eval"])
def test_networks_form_matches_the_published_code(name, dtype):
    """The published module is relu(x + branch), with batch normalisation of the branch."""
    names = {
        "conv1.weight": "conv_in.kernel",
        "conv1.bias": "conv_in.bias",
        "linear_0.weight": ("memory_key.kernel", matrix),
        "linear_1.weight": ("memory_value.kernel", matrix),
        "conv2.0.weight": "conv_out.kernel",
        **batch_norm_names(load(name), kept=0.9),
    }
    check(
        name,
        lambda dtype: module(dtype, num_memories=64, batch_norm="plain", batch_norm_momentum=0.9),
        names,
        output=published_residual,
        dtype=dtype,
    )


def test_matches_the_equation():
    for convolutions in (False, True):
        module_checks.check_reference(module(convolutions=convolutions), context)


def test_gradients_match_finite_differences():
    module_checks.check_gradients(module())


def test_attention_sums_to_one_over_the_slots():
    """With all values of the memory 1, the output is 1 everywhere."""
    x = module_checks.images()
    layer = module_checks.randomized(module(convolutions=False, epsilon=0.0), x)
    layer.memory_value.kernel.assign(np.ones(layer.memory_value.kernel.shape))
    np.testing.assert_allclose(layer.context(x), np.ones_like(x), rtol=1e-12)


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="num_memories must be positive, received 0"):
        ExternalAttention(num_memories=0)
    with pytest.raises(ValueError, match="epsilon must not be negative, received -1"):
        ExternalAttention(epsilon=-1)
