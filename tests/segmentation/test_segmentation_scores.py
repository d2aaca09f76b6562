import keras
import numpy as np
import pytest
import tensorflow as tf
from golden_seg import load_golden

from hamgan.segmentation.data.masks import IGNORED
from hamgan.segmentation.evaluation.scores import confusion_matrix, segmentation_scores


def test_published_scores():
    golden = load_golden("scores")
    classes = int(golden["classes"])
    confusion = sum(
        confusion_matrix(label, prediction, classes).numpy()
        for label, prediction in zip(golden["label"], golden["prediction"], strict=True)
    )
    np.testing.assert_array_equal(confusion, golden["confusion"])
    scores = segmentation_scores(confusion)
    np.testing.assert_array_equal(scores.iou, golden["iou"])
    assert scores.pixel_accuracy == golden["pAcc"]
    assert scores.mean_accuracy == golden["mAcc"]
    assert scores.frequency_weighted_iou == pytest.approx(golden["fIoU"], rel=1e-15)
    assert scores.mean_iou == golden["mIoU"]


@pytest.fixture
def random_masks():
    """Masks with ignored pixels, and predictions; class 6 is in neither of them, class 5 in predictions only."""
    rng = np.random.default_rng(0)
    masks = rng.choice([0, 1, 2, 3, 4, IGNORED], (4, 9, 11)).astype(np.uint8)
    return masks, rng.integers(0, 6, masks.shape)


def _expected_confusion(masks, predictions, classes):
    expected = np.zeros((classes, classes), np.int64)
    for truth, predicted in zip(masks.ravel(), predictions.ravel(), strict=True):
        if truth < classes:
            expected[truth, predicted] += 1
    return expected


@pytest.mark.parametrize("jit", [False, True])
def test_matrix_counts_pixels_inside_a_function(random_masks, jit):
    masks, predictions = random_masks
    count = tf.function(lambda *both: confusion_matrix(*both, 7), jit_compile=jit)
    found = count(tf.constant(masks), tf.constant(predictions))
    assert found.dtype == tf.int64
    np.testing.assert_array_equal(found, _expected_confusion(masks, predictions, 7))


def test_matrices_of_replicas_add_up(random_masks):
    masks, predictions = (tf.constant(array) for array in random_masks)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    @tf.function
    def count():
        def on_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return confusion_matrix(masks[replica::2], predictions[replica::2], 7)

        return strategy.experimental_local_results(strategy.run(on_replica))

    parts = count()
    assert len(parts) == 2
    np.testing.assert_array_equal(sum(parts), _expected_confusion(*random_masks, 7))


def test_mean_iou_agrees_with_keras(random_masks):
    metric = keras.metrics.MeanIoU(7, ignore_class=IGNORED)
    metric.update_state(*random_masks)
    scores = segmentation_scores(confusion_matrix(*random_masks, 7).numpy())
    assert scores.mean_iou == pytest.approx(float(metric.result()), rel=1e-6)
    assert np.isnan(scores.iou[6])
    assert scores.iou[5] == 0
    assert np.isnan(scores.accuracy[5])


def test_predictions_out_of_range_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="predictions must be below"):
        confusion_matrix([0, 1], [0, 2], 2)


@pytest.mark.parametrize("confusion", [np.zeros((2, 2)), np.ones((2, 3)), np.array([[1, -1], [0, 1]])])
def test_matrix_without_meaning_is_refused(confusion):
    with pytest.raises(ValueError, match="square matrix of counts"):
        segmentation_scores(confusion)
