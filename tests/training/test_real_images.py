import dataclasses

import numpy as np

from hamgan.data.dataset import ClassificationDataset
from hamgan.sampling.grids import to_uint8
from hamgan.training.real_images import real_image_grid

NAMES = [str(label) for label in range(10)]


def test_rows_show_the_first_training_images_of_their_class(tiny):
    dataset = ClassificationDataset(tiny.data)
    grid = real_image_grid(dataset, tiny.model, [7, 0], 3, NAMES)
    images, labels = next(dataset.evaluation_batches("train", resolution=32, batch=200).take(1).as_numpy_iterator())
    assert grid.shape[0] == 2 * 32
    for row, label in enumerate([7, 0]):
        expected = np.concatenate(to_uint8(images[labels == label][:3]), axis=1)
        np.testing.assert_array_equal(grid[row * 32 : row * 32 + 32, -3 * 32 :], expected)


def test_missing_images_are_white(tiny):
    dataset = ClassificationDataset(dataclasses.replace(tiny.data, train_split="train[:20]"))
    grid = real_image_grid(dataset, tiny.model, [3], 15, NAMES)
    assert (grid[:, -32:] == 255).all()
    assert (grid[:, -15 * 32 : -14 * 32] < 255).any()
