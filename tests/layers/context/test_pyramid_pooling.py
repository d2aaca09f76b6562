import module_checks
import numpy as np
import pytest
import tensorflow as tf
from golden_files import check, load, relative

from hamgan.layers import PyramidPooling


def module(dtype="float64", **arguments):
    return PyramidPooling(spectral_norm=False, dtype=dtype, **arguments)


def names(name):
    """The golden files have no weights after the concatenation."""
    return {
        f"{index}.1.conv.{official}": f"branch_{index + 1}.{own}"
        for index in range(len(load(name).settings["pool_scales"]))
        for official, own in (("weight", "kernel"), ("bias", "bias"))
    }


def pooled(x, scale):
    """Means over the cells, from their definition."""
    _, height, width, _ = x.shape
    outputs = np.zeros((len(x), scale, scale, x.shape[-1]))
    for i in range(scale):
        rows = slice(int(np.floor(i * height / scale)), int(np.ceil((i + 1) * height / scale)))
        for j in range(scale):
            columns = slice(int(np.floor(j * width / scale)), int(np.ceil((j + 1) * width / scale)))
            outputs[:, i, j] = x[:, rows, columns].mean((1, 2))
    return outputs


def interpolated(x, size, axis):
    """Bilinear interpolation along one axis, corners not aligned."""
    cells = x.shape[axis]
    outputs = []
    for position in range(size):
        source = max((position + 0.5) * cells / size - 0.5, 0)
        lower = int(source)
        upper, share = min(lower + 1, cells - 1), source - lower
        outputs.append((1 - share) * x.take(lower, axis) + share * x.take(upper, axis))
    return np.stack(outputs, axis)


def pyramid(layer, x):
    features = [x]
    for index, scale in enumerate(layer.scales, start=1):
        branch = module_checks.conv(getattr(layer, f"branch_{index}"), pooled(x, scale))
        if layer.activation == "relu":
            branch = np.maximum(branch, 0)
        features.append(interpolated(interpolated(branch, x.shape[1], 1), x.shape[2], 2))
    return np.concatenate(features, axis=-1)


def context(layer, x):
    return module_checks.conv(layer.project, pyramid(layer, x))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["ppm_7x9", "ppm_7x9_linear", "ppm_12x12"])
def test_features_match_the_published_code(name, dtype):
    activation = load(name).settings["activation"]
    check(
        name,
        lambda dtype: module(dtype, branch_channels=3, activation=activation),
        names(name),
        output=lambda layer, x, training: layer.pyramid(x, training=training),
        dtype=dtype,
    )


@pytest.mark.parametrize("arguments", [{}, {"scales": (4, 7), "branch_channels": 2, "activation": None}])
def test_matches_the_definition(arguments):
    """The images have 5 x 8 positions, less than some grids have cells."""
    module_checks.check_reference(module(**arguments), context)


def test_gradients_match_finite_differences():
    module_checks.check_gradients(module(scales=(1, 3)))


def test_height_and_width_may_be_unknown():
    x = module_checks.images()
    layer = module_checks.randomized(module(scales=(2, 3)), x)
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, x.shape[-1]), tf.float64)])
    for part in (x, x[:1, :4, :3]):
        assert relative(function(part), layer(tf.constant(part))) < 1e-12


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="scales must be positive, at least one"):
        PyramidPooling(scales=())
    with pytest.raises(ValueError, match="scales must be positive, at least one"):
        PyramidPooling(scales=(1, 0))
    with pytest.raises(ValueError, match="branch_channels must be positive or None, received 0"):
        PyramidPooling(branch_channels=0)
    with pytest.raises(ValueError, match=r"activation must be one of .*, received 'gelu'"):
        PyramidPooling(activation="gelu")
