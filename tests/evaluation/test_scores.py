import numpy as np

from hamgan.evaluation.scores import class_conditional_accuracy


def test_accuracy_is_the_fraction_of_images_assigned_to_their_label():
    logits = np.array([[1, 2, 0], [3, 0, 1], [0, 0, 1], [5, 6, 7]])
    assert class_conditional_accuracy(logits, np.array([1, 0, 1, 2])) == 0.75
