import contextlib
import itertools

import float64_reference as reference
import numpy as np
import pytest
import tensorflow as tf
from second_order import assert_right_to_second_order

from hamgan.architecture import CONVOLUTION_FORMS
from hamgan.layers import SNConv2D
from hamgan.layers.convolution import choice, convolve
from hamgan.layers.convolution.plain import downsample, upsample
from hamgan.layers.execution import execution

RESAMPLINGS = (None, "up", "down")
SCALE = 0.3


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def as_written(images, kernel, resampling):
    """Resampling and convolution in NumPy, tap by tap."""
    if resampling == "up":
        images = images.repeat(2, axis=1).repeat(2, axis=2)
    size = len(kernel)
    height, width = images.shape[1:3]
    margin = size // 2
    padded = np.pad(images, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
    outputs = sum(
        padded[:, y : y + height, x : x + width] @ kernel[y, x] for y, x in itertools.product(range(size), repeat=2)
    )
    if resampling == "down":
        outputs = sum(outputs[:, y::2, x::2] for y, x in itertools.product(range(2), repeat=2)) / 4
    return outputs


@pytest.mark.parametrize("form", CONVOLUTION_FORMS)
@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("size", [1, 3])
def test_every_form_matches_the_definition(form, resampling, size):
    images, kernel = normal(2, 6, 4, 3), normal(size, size, 3, 5, seed=1)
    expected = as_written(images, kernel, resampling)
    exactly = convolve(tf.constant(images), tf.constant(kernel), resampling=resampling, form=form)
    assert reference.relative_error(exactly, expected) < 1e-14
    images, kernel = tf.constant(images, tf.float32), tf.constant(kernel, tf.float32)
    assert reference.relative_error(convolve(images, kernel, resampling=resampling, form=form), expected) < 1e-6


@pytest.mark.parametrize("form", ["plain", "strided", "products"])
@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("size", [1, 3])
def test_gradients_are_the_adjoints_of_the_definition(form, resampling, size):
    # The convolution is bilinear, so values for unit arguments give its gradients.
    images, kernel = normal(1, 4, 2, 2), normal(size, size, 2, 2, seed=1)
    upstream = normal(*as_written(images, kernel, resampling).shape, seed=2)

    def expected(argument, value_with_unit):
        units = np.eye(argument.size).reshape(-1, *argument.shape)
        return SCALE * np.array([np.sum(upstream * value_with_unit(unit)) for unit in units]).reshape(argument.shape)

    inputs = tf.constant(images), tf.constant(kernel), tf.constant(SCALE, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = convolve(inputs[0], inputs[1], scale=inputs[2], resampling=resampling, form=form)
    to_images, to_kernel, to_scale = tape.gradient(outputs, inputs, tf.constant(upstream))
    unscaled = as_written(images, kernel, resampling)
    assert reference.relative_error(outputs, SCALE * unscaled) < 1e-14
    for found, exactly in (
        (to_images, expected(images, lambda unit: as_written(unit, kernel, resampling))),
        (to_kernel, expected(kernel, lambda unit: as_written(images, unit, resampling))),
        (to_scale, np.sum(upstream * unscaled)),
    ):
        assert reference.relative_error(found, exactly) < 1e-13


def operations(images_shape, kernel_shape, resampling, form, dtype=tf.float32):
    """The types of the operations in the graph of a call. A form is defined by its operations."""

    @tf.function
    def function(images, kernel):
        return convolve(images, kernel, resampling=resampling, form=form)

    graph = function.get_concrete_function(tf.TensorSpec(images_shape, dtype), tf.TensorSpec(kernel_shape, dtype)).graph
    return {operation.type for operation in graph.get_operations()}


def convolved_size(images_shape, kernel_shape, resampling, form):
    """The output height of the convolution itself, without the resampling after it."""

    @tf.function
    def function(images, kernel):
        return convolve(images, kernel, resampling=resampling, form=form)

    graph = function.get_concrete_function(tf.TensorSpec(images_shape), tf.TensorSpec(kernel_shape)).graph
    (convolution,) = [operation for operation in graph.get_operations() if operation.type == "Conv2D"]
    return convolution.outputs[0].shape[1]


WIDE, NARROW = (3, 3, 512, 256), (3, 3, 32, 64)


@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_each_form_uses_its_own_operations(resampling):
    shape = (None, 8, 8, 32)
    products = operations(shape, NARROW, resampling, "products")
    assert not {"Conv2D", "Conv2DBackpropInput"} & products
    assert ("BatchMatMulV2" if resampling != "down" else "MatMul") in products
    strided = operations(shape, NARROW, resampling, "strided")
    assert ("Conv2DBackpropInput" if resampling == "up" else "Conv2D") in strided
    assert "AvgPool" not in strided
    assert ("AvgPool" in operations(shape, NARROW, resampling, "plain")) == (resampling == "down")


def test_1x1_convolutions_commute_or_stride():
    shape, kernel = (None, 8, 8, 32), (1, 1, 32, 64)
    for resampling in ("up", "down"):
        strided = operations(shape, kernel, resampling, "strided")
        assert not {"AvgPool", "BroadcastTo"} & strided
        for form, size in (("plain", 16 if resampling == "up" else 8), ("products", 8 if resampling == "up" else 4)):
            assert convolved_size(shape, kernel, resampling, form) == size


@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_auto_uses_products_for_wide_kernels_on_cpus(resampling):
    wide = operations((None, 8, 8, 512), WIDE, resampling, "auto")
    assert wide == operations((None, 8, 8, 512), WIDE, resampling, "products")
    narrow = operations((None, 8, 8, 32), NARROW, resampling, "auto")
    assert narrow == operations((None, 8, 8, 32), NARROW, resampling, "strided")


@pytest.mark.parametrize("wide_vectors", [False, True])
def test_sums_cost_more_where_vectors_are_wide(wide_vectors, monkeypatch):
    monkeypatch.setattr(choice, "has_512_bit_vectors", lambda: wide_vectors)
    for resampling in RESAMPLINGS:
        assert choice.cpu_form(3, 32, 64, resampling) == "strided"
        assert choice.cpu_form(3, 512, 256, resampling) == "products"
        assert choice.cpu_form(3, 170, 170, resampling) == ("strided" if wide_vectors else "products")


@pytest.mark.parametrize(
    ("found", "limit", "expected"),
    [
        (["X86_V3", "X86_V4"], None, True),
        (["AVX2", "AVX512F", "AVX512CD", "AVX512_SKX"], None, True),
        (["X86_V3", "X86_V4"], "AVX512_CORE_BF16", True),
        (["X86_V3", "X86_V4"], "AVX2", False),
        (["AVX2", "AVX512F", "AVX512CD", "AVX512_KNL"], None, False),
        (["X86_V3"], None, False),
        ([], None, False),
    ],
)
def test_512_bit_vectors_are_those_that_onednn_uses(found, limit, expected, monkeypatch):
    extensions = {"baseline": ["X86_V2"], "found": found} if found else {}
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": extensions} if extensions else {})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert choice.has_512_bit_vectors.__wrapped__() == expected


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("device", ["gpu", "tpu"])
def test_auto_uses_strided_kernels_on_accelerators(resampling, device):
    with execution(target=device):
        found = operations((None, 8, 8, 512), WIDE, resampling, "auto")
    assert found == operations((None, 8, 8, 512), WIDE, resampling, "strided")


@pytest.mark.parametrize("resampling", ["up", "down"])
def test_auto_uses_products_for_1x1_kernels_on_cpus_and_strides_for_narrow_ones_elsewhere(resampling):
    def found(device, form, channels):
        with execution(target=device):
            return operations((None, 8, 8, channels), (1, 1, channels, 64), resampling, form)

    for channels in (64, 1024):
        assert found("cpu", "auto", channels) == found("cpu", "products", channels)
    assert found("tpu", "auto", 64) == found("tpu", "strided", 64)
    assert found("tpu", "auto", 1024) == found("tpu", "products", 1024)


@pytest.mark.parametrize("form", CONVOLUTION_FORMS)
@pytest.mark.parametrize(("resampling", "shape"), [(None, (2, 5, 4, 3)), ("up", (2, 5, 3, 3)), ("down", (2, 4, 6, 3))])
@pytest.mark.parametrize("size", [1, 3])
def test_odd_and_unknown_sizes_are_supported(form, resampling, shape, size):
    images, kernel = normal(*shape), normal(size, size, 3, 2, seed=1)
    expected = as_written(images, kernel, resampling)
    for known in (shape, (None, *shape[1:]), (None, None, None, shape[-1])):
        function = tf.function(
            lambda images: convolve(images, tf.constant(kernel), resampling=resampling, form=form),
            input_signature=[tf.TensorSpec(known, tf.float64)],
        )
        assert reference.relative_error(function(images), expected) < 1e-13


@pytest.mark.parametrize("form", ["plain", "strided", "products"])
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_kernels_may_have_a_wider_dtype_than_images(form, resampling):
    images, kernel = tf.constant(normal(2, 4, 4, 8), tf.bfloat16), tf.constant(normal(3, 3, 8, 4, seed=1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        outputs = convolve(images, kernel, resampling=resampling, form=form)
    to_images, to_kernel = tape.gradient(outputs, [images, kernel])
    assert outputs.dtype == to_images.dtype == tf.bfloat16
    assert to_kernel.dtype == tf.float32
    expected = as_written(tf.cast(images, tf.float64).numpy(), kernel.numpy(), resampling)
    assert reference.relative_error(tf.cast(outputs, tf.float64), expected) < 2e-2


@pytest.mark.parametrize("form", ["strided", "products"])
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_tensorflow_lite_gives_the_same_results(form, resampling):
    images, kernel = normal(2, 4, 4, 8).astype(np.float32), normal(3, 3, 8, 4, seed=1).astype(np.float32)
    function = tf.function(
        lambda images: convolve(images, tf.constant(kernel), resampling=resampling, form=form),
        input_signature=[tf.TensorSpec(images.shape)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    (outputs,) = interpreter.get_signature_runner()(images=images).values()
    assert reference.relative_error(outputs, as_written(images, kernel, resampling)) < 1e-6


def test_resampling_is_nearest_neighbour_and_average_pooling():
    images = normal(2, 4, 6, 3)
    np.testing.assert_array_equal(upsample(tf.constant(images)), images.repeat(2, axis=1).repeat(2, axis=2))
    mean = images.reshape(2, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(downsample(tf.constant(images)), mean, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize(("resampling", "size"), [("up", (8, 12)), ("down", (2, 3))])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_layer_resamples_and_adds_its_bias(resampling, size, kernel_size):
    layer = SNConv2D(5, kernel_size, resampling=resampling)
    images = normal(2, 4, 6, 3).astype(np.float32)
    layer.build(images.shape)
    layer.bias.assign(normal(5, seed=3))
    outputs = layer(images)
    assert outputs.shape == layer.compute_output_shape(images.shape) == (2, *size, 5)
    expected = as_written(images, layer.normalized_kernel(False).numpy(), resampling) + layer.bias.numpy()
    assert reference.relative_error(outputs, expected) < 1e-6


def test_layer_rejects_unknown_forms_and_resamplings():
    with pytest.raises(ValueError, match=r"form must be one of .*received 'fft'"):
        SNConv2D(2, 3, form="fft")
    with pytest.raises(ValueError, match=r"resampling must be one of .*received 'left'"):
        SNConv2D(2, 3, resampling="left")


@pytest.mark.parametrize(
    ("mode", "size", "form"),
    [
        *(("graph", size, form) for size in (1, 3) for form in ("plain", "strided", "products")),
        *(("eager", 3, form) for form in ("strided", "products")),
        *(pytest.param("xla", 3, form, marks=pytest.mark.slow) for form in ("strided", "products")),
    ],
)
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_second_derivatives_match_finite_differences(mode, form, resampling, size):
    assert_right_to_second_order(
        lambda images, kernel, scale: tf.sin(convolve(images, kernel, scale=scale, resampling=resampling, form=form)),
        normal(2, 4, 2, 3),
        normal(size, size, 3, 2, seed=1),
        np.array(SCALE),
        mode=mode,
    )


@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_third_derivatives_match_the_plain_form(resampling):
    def third(form):
        images, kernel = tf.constant(normal(1, 4, 2, 2)), tf.constant(normal(3, 3, 2, 2, seed=1))
        outputs = [images, kernel]
        with contextlib.ExitStack() as stack:
            tapes = [stack.enter_context(tf.GradientTape()) for _ in range(3)]
            for tape in tapes:
                tape.watch(outputs)
            value = tf.reduce_sum(tf.sin(convolve(images, kernel, resampling=resampling, form=form)))
            for tape in reversed(tapes[1:]):
                value = tf.add_n([tf.reduce_sum(gradient**2) for gradient in tape.gradient(value, outputs)])
        return tapes[0].gradient(value, outputs)

    for form in ("strided", "products"):
        for found, expected in zip(third(form), third("plain"), strict=True):
            assert reference.relative_error(found, expected) < 1e-12
