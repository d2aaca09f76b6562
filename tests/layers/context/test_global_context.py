import module_checks
import numpy as np
import pytest
from golden_files import check
from keras import ops

from hamgan.layers import GlobalContext

# Settings of each file, and whether the published module adds the branch to the input.
GOLDEN = {
    "gc_att_add": ({"pooling": "attention", "fusion": "add"}, True),
    "gc_avg_add": ({"pooling": "average", "fusion": "add"}, True),
    "gc_att_mul": ({"pooling": "attention", "fusion": "mul"}, False),
    "gc_att_mul_add": ({"pooling": "attention", "fusion": "both"}, False),
}


def module(dtype="float64", **arguments):
    return GlobalContext(reduction=2, spectral_norm=False, dtype=dtype, **arguments)


def names(pooling, fusion):
    kinds = ("add", "mul") if fusion == "both" else (fusion,)
    transforms = {
        f"channel_{kind}_conv.{index}.{official}": (f"{kind}_{layer}.{own}", layout)
        for kind in kinds
        for index, layer, official, own, layout in (
            (0, "reduce", "weight", "kernel", kernel),
            (0, "reduce", "bias", "bias", np.ravel),
            (1, "layer_norm", "weight", "gamma", np.ravel),
            (1, "layer_norm", "bias", "beta", np.ravel),
            (3, "expand", "weight", "kernel", kernel),
            (3, "expand", "bias", "bias", np.ravel),
        )
    }
    mask = {"conv_mask.weight": "mask.kernel", "conv_mask.bias": ("mask.bias", np.ravel)}
    return {**transforms, **(mask if pooling == "attention" else {})}


def kernel(weight):
    return weight.transpose(2, 3, 1, 0)


def context(layer, x):
    """The branch, from the paper's equations."""
    weights = np.full((*x.shape[:3], 1), 1 / (x.shape[1] * x.shape[2]))
    if layer.pooling == "attention":
        logits = module_checks.conv(layer.mask, x)
        weights = module_checks.softmax(logits.reshape(len(x), -1), axis=1).reshape(logits.shape)
    z = (weights * x).sum((1, 2), keepdims=True)

    def transform(kind):
        reduced = module_checks.conv(getattr(layer, f"{kind}_reduce"), z)
        norm = getattr(layer, f"{kind}_layer_norm")
        gamma, beta = (ops.convert_to_numpy(weight) for weight in (norm.gamma, norm.beta))
        deviation = np.sqrt(reduced.var(-1, keepdims=True) + 1e-5)
        normalized = gamma * (reduced - reduced.mean(-1, keepdims=True)) / deviation + beta
        return module_checks.conv(getattr(layer, f"{kind}_expand"), np.maximum(normalized, 0))

    if layer.fusion == "add":
        return transform("add") + np.zeros_like(x)
    scaled = x * module_checks.sigmoid(transform("mul"))
    return scaled if layer.fusion == "mul" else scaled + transform("add")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", GOLDEN)
def test_matches_the_published_code(name, dtype):
    """Published blocks add the branch to the input, or with a multiplication, replace the input by it."""
    settings, adds = GOLDEN[name]
    check(
        name,
        lambda dtype: module(dtype, **settings),
        names(**settings),
        output=None if adds else lambda layer, x, training: layer.context(x, training=training),
        dtype=dtype,
    )


@pytest.mark.parametrize("settings", [settings for settings, _ in GOLDEN.values()], ids=list(GOLDEN))
def test_matches_the_equations(settings):
    module_checks.check_reference(module(**settings), context)


def test_gradients_match_finite_differences():
    module_checks.check_gradients(module(fusion="both"))


def test_all_positions_receive_the_same_context():
    x = module_checks.images()
    layer = module_checks.randomized(module(), x)
    branch = layer.context(x).numpy()
    np.testing.assert_array_equal(branch, np.broadcast_to(branch[:, :1, :1], branch.shape))


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="reduction must be positive, received 0"):
        GlobalContext(reduction=0)
    with pytest.raises(ValueError, match=r"pooling must be one of .*, received 'max'"):
        GlobalContext(pooling="max")
    with pytest.raises(ValueError, match=r"fusion must be one of .*, received 'sum'"):
        GlobalContext(fusion="sum")
    with pytest.raises(ValueError, match="at least 12 channels with reduction=4, received 8"):
        GlobalContext(reduction=4).build((None, None, None, 8))
