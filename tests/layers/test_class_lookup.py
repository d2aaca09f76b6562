import numpy as np
import pytest
import tensorflow as tf
from second_order import assert_right_to_second_order

from hamgan.layers.class_lookup import check_class_weights, class_condition, class_labels, class_rows

TABLE = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
LABELS = [4, 1, 4, 0, 4]
WEIGHTS = np.random.default_rng(3).dirichlet(np.ones(5), 4).astype(np.float32)


def rows_and_gradient(table, labels, upstream):
    with tf.GradientTape() as tape:
        tape.watch(table)
        rows = class_rows(table, labels)
    return rows, tape.gradient(rows, table, upstream)


def test_class_rows_returns_one_row_per_label():
    np.testing.assert_array_equal(class_rows(tf.constant(TABLE), tf.constant(LABELS)), TABLE[LABELS])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "float64"])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_both_shapes_and_all_exact_dtypes_are_accepted(dtype, shape):
    labels = class_labels(np.reshape(LABELS, shape).astype(dtype), 5, layer="mine", examples=tf.zeros((5, 2)))
    assert labels.dtype == tf.int32
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (4,), (1, 5), (5, 2), (5, 1, 1)])
def test_other_shapes_are_rejected(shape):
    # Labels are never broadcast.
    with pytest.raises(ValueError, match=r"mine expects labels of shape \(5,\) or \(5, 1\), received \("):
        class_labels(np.zeros(shape, np.int32), 5, layer="mine", examples=tf.zeros((5, 2)))


def test_a_wrong_number_of_labels_is_rejected_when_a_graph_runs():
    function = tf.function(
        lambda labels, examples: class_labels(labels, 5, layer="mine", examples=examples),
        input_signature=[tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, 2))],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="mine expects one label for each"):
        function([1], tf.zeros((5, 2)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "bool", "string"])
def test_dtypes_that_cannot_represent_every_class_are_rejected(dtype):
    labels = tf.constant(["a"]) if dtype == "string" else tf.cast([1], dtype)
    with pytest.raises(ValueError, match=rf"mine expects labels as integers, or .*, received {dtype}"):
        class_labels(labels, 5, layer="mine")


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("wrong", [-1, 5, 2**40, 1.5, float("nan")])
def test_labels_out_of_range_are_rejected(mode, wrong):
    labels = tf.constant([0, wrong], tf.float64 if isinstance(wrong, float) else tf.int64)
    function = class_labels if mode == "eager" else tf.function(class_labels)
    error = ValueError if mode == "eager" else tf.errors.InvalidArgumentError
    with pytest.raises(error, match=r"mine expects labels in \[0, 5\), received"):
        function(labels, 5, layer="mine")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_gradient_of_a_half_precision_table_is_accumulated_in_float32(dtype):
    labels = tf.zeros((4096,), tf.int32)
    _, gradient = rows_and_gradient(tf.ones((2, 1), dtype), labels, tf.ones((4096, 1), dtype))
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(tf.cast(gradient, tf.float32), [[4096], [0]])


@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
def test_second_derivatives_match_finite_differences(mode):
    assert_right_to_second_order(lambda table: tf.sin(class_rows(table, tf.constant(LABELS))), TABLE, mode=mode)


@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
def test_gradient_is_dense_and_sums_repeated_labels(mode):
    run = rows_and_gradient if mode == "eager" else tf.function(rows_and_gradient, jit_compile=mode == "xla")
    upstream = np.random.default_rng(2).normal(size=(len(LABELS), 3)).astype(np.float32)
    _, gradient = run(tf.constant(TABLE), tf.constant(LABELS), tf.constant(upstream))
    assert isinstance(gradient, tf.Tensor)
    expected = np.zeros(TABLE.shape)
    np.add.at(expected, LABELS, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(gradient[2:4], np.zeros((2, 3)))


def test_class_weights_average_the_rows_and_one_hot_weights_give_the_rows():
    rows = class_rows(tf.constant(TABLE), class_weights=tf.constant(WEIGHTS))
    assert rows.dtype == tf.float32
    np.testing.assert_allclose(rows, np.float64(WEIGHTS) @ np.float64(TABLE), rtol=1e-6, atol=1e-6)
    one_hot = tf.constant(np.eye(5, dtype=np.float32)[LABELS])
    np.testing.assert_array_equal(class_rows(tf.constant(TABLE), class_weights=one_hot), TABLE[LABELS])


def test_the_gradient_reaches_table_and_class_weights():
    table, weights = tf.constant(TABLE), tf.constant(WEIGHTS)
    upstream = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch([table, weights])
        rows = class_rows(table, class_weights=weights)
    to_table, to_weights = tape.gradient(rows, [table, weights], upstream)
    np.testing.assert_allclose(to_table, WEIGHTS.T @ upstream, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(to_weights, upstream @ TABLE.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (5,), (1, 5), (4, 1), (4, 6), (4, 5, 1)])
def test_class_weights_of_other_shapes_are_rejected(shape):
    with pytest.raises(ValueError, match=r"mine expects class_weights of shape \(4, 5\), received \("):
        check_class_weights(np.full(shape, 0.2, np.float32), 5, layer="mine", examples=tf.zeros((4, 2)))


@pytest.mark.parametrize("dtype", ["int32", "bfloat16", "float16"])
def test_class_weights_of_other_dtypes_are_rejected(dtype):
    with pytest.raises(ValueError, match=f"mine expects class_weights in float32 or float64, received {dtype}"):
        check_class_weights(tf.cast(np.eye(5), dtype), 5, layer="mine")


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("wrong", [0.0, 1.01, float("nan"), float("inf")])
def test_class_weights_that_do_not_sum_to_one_are_rejected(mode, wrong):
    weights = tf.constant([[1.0, 0.0], [0.0, wrong]])
    function = check_class_weights if mode == "eager" else tf.function(check_class_weights)
    error = ValueError if mode == "eager" else tf.errors.InvalidArgumentError
    with pytest.raises(error, match="mine expects class_weights whose rows sum to 1, received"):
        function(weights, 2, layer="mine")


def test_a_wrong_number_of_class_weights_is_rejected_when_a_graph_runs():
    function = tf.function(
        lambda weights, examples: check_class_weights(weights, 5, layer="mine", examples=examples),
        input_signature=[tf.TensorSpec((None, 5)), tf.TensorSpec((None, 2))],
    )
    np.testing.assert_array_equal(function(WEIGHTS, tf.zeros((4, 2))), WEIGHTS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="mine expects a row of class_weights for each"):
        function(WEIGHTS, tf.zeros((5, 2)))


def test_class_weights_come_before_labels_and_one_of_them_is_required():
    assert class_condition([9], WEIGHTS, 5, layer="mine").keys() == {"class_weights"}
    assert class_condition([4], None, 5, layer="mine").keys() == {"labels"}
    with pytest.raises(ValueError, match="mine expects labels or class_weights, received neither"):
        class_condition(None, None, 5, layer="mine")
