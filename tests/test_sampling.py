import numpy as np
import pytest

from hamgan.networks import build_generator
from hamgan.sampling import Sampler, grid_classes, image_grid


@pytest.fixture(scope="module")
def generator(tiny):
    generator = build_generator(tiny.model)
    # The Hamburger, and with it the initial bases, must take part.
    generator.hamburger.sigma.assign(1.0)
    return generator


def test_an_image_depends_on_seed_index_and_label_and_not_on_the_batch(generator):
    labels = np.arange(7, dtype=np.int32)
    in_threes = np.concatenate(list(Sampler(generator, seed=1, batch=3).batches(labels)))
    at_once = np.concatenate(list(Sampler(generator, seed=1, batch=7).batches(labels)))
    assert in_threes.shape == (7, 32, 32, 3)
    np.testing.assert_allclose(in_threes, at_once, atol=1e-5)
    other_seed = np.concatenate(list(Sampler(generator, seed=2, batch=7).batches(labels)))
    assert abs(other_seed - at_once).max(axis=(1, 2, 3)).min() > 1e-4
    other_label = np.concatenate(list(Sampler(generator, seed=1, batch=7).batches(labels[:1])))
    np.testing.assert_allclose(other_label[0], at_once[0], atol=1e-5)


def test_random_labels_are_uniform_and_repeatable(generator):
    labels = Sampler(generator, seed=1, batch=4).random_labels(2000)
    np.testing.assert_array_equal(labels, Sampler(generator, seed=1, batch=9).random_labels(2000))
    assert np.bincount(labels, minlength=10).min() > 150


def test_grid_has_one_row_per_class(generator):
    assert Sampler(generator, seed=0, batch=4).grid([1, 5, 7], 2).shape == (96, 64, 3)


def test_image_grid_places_images_row_by_row():
    images = np.stack([np.full((2, 3, 3), value, np.float32) for value in (-1, -0.5, 0, 0.5, 1, 2)])
    grid = image_grid(images, columns=3)
    assert grid.dtype == np.uint8
    assert grid.shape == (4, 9, 3)
    np.testing.assert_array_equal(grid[0, ::3, 0], [0, 64, 128])
    np.testing.assert_array_equal(grid[3, ::3, 0], [191, 255, 255])


def test_grid_classes_are_spread_over_all():
    assert grid_classes(10) == list(range(10))
    assert grid_classes(3) == [0, 1, 2]
    assert grid_classes(1000) == list(range(0, 1000, 100))
