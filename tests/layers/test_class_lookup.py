import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers.class_lookup import class_rows

TABLE = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
LABELS = [4, 1, 4, 0, 4]


def rows_and_gradient(table, labels, upstream):
    with tf.GradientTape() as tape:
        tape.watch(table)
        rows = class_rows(table, labels)
    return rows, tape.gradient(rows, table, upstream)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_class_rows_picks_one_row_per_label(dtype):
    np.testing.assert_array_equal(class_rows(tf.constant(TABLE), tf.constant(LABELS, dtype)), TABLE[LABELS])


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_gradient_is_dense_and_adds_up_repeated_labels(mode):
    run = rows_and_gradient if mode == "eager" else tf.function(rows_and_gradient, jit_compile=mode == "xla")
    upstream = np.random.default_rng(2).normal(size=(len(LABELS), 3)).astype(np.float32)
    _, gradient = run(tf.constant(TABLE), tf.constant(LABELS), tf.constant(upstream))
    assert isinstance(gradient, tf.Tensor)
    expected = np.zeros(TABLE.shape)
    np.add.at(expected, LABELS, upstream)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(gradient[2:4], np.zeros((2, 3)))
