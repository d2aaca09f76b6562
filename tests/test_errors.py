import errno

import pytest
import tensorflow as tf

from hamgan.errors import is_of_the_environment, reason_of


def _raised_by(dataset):
    @tf.function
    def train(iterator):
        return tf.while_loop(lambda i: i < 9, lambda i: i + tf.cast(next(iterator), tf.int32) * 0 + 1, [0])

    with pytest.raises(tf.errors.OpError) as raised:
        train(iter(dataset))
    return raised.value


def test_errors_of_a_data_set_are_reported_without_the_graph_trace(tmp_path):
    def check(number):
        with tf.control_dependencies([tf.debugging.assert_less(number, tf.constant(3, tf.int64), "label is not one")]):
            return tf.identity(number)

    assert reason_of(_raised_by(tf.data.Dataset.range(9).map(check))).startswith("assertion failed: [label is not one]")
    path = tmp_path / "x.tfrecord"
    path.write_bytes(b"something else altogether")
    records = tf.data.TFRecordDataset(str(path)).map(lambda _: tf.constant(1, tf.int64))
    assert reason_of(_raised_by(records)).startswith("corrupted record at 0")
    path.unlink()
    assert reason_of(_raised_by(records)) == f"{path}; No such file or directory"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (
            OSError("what was written does not read back as it was written"),
            "what was written does not read back as it was written",
        ),
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (tf.errors.DataLossError(None, None, "{{function_node f}} truncated [Op:Read] name: "), "truncated"),
        (
            tf.errors.InvalidArgumentError(
                None, None, "2 root error(s) found.\n  (0) INVALID_ARGUMENT:  label 7\n\t [[{{node x}}]]\n  (1) x"
            ),
            "label 7",
        ),
        (tf.errors.UnknownError(None, None, "Graph execution error:\n\nDetected at node x"), "UnknownError"),
    ],
)
def test_reasons_are_one_line(error, reason):
    assert reason_of(error) == reason


def test_environment_errors_are_distinguished_from_bugs():
    for error in (OSError(), ConnectionError(), tf.errors.DataLossError(None, None, "")):
        assert is_of_the_environment(error)
    for error in (ValueError(), KeyError(), RuntimeError()):
        assert not is_of_the_environment(error)
