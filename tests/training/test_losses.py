import numpy as np

from hamgan.training.losses import hinge_discriminator_loss, hinge_generator_loss

REAL = np.array([[2.0], [0.25], [-1.5]], np.float32)
FAKE = np.array([[-3.0], [0.5], [-0.25]], np.float32)


def test_discriminator_loss_is_the_sum_of_both_hinges():
    expected = np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean()
    np.testing.assert_allclose(hinge_discriminator_loss(REAL, FAKE), expected, rtol=1e-6)


def test_generator_loss_is_minus_the_mean():
    np.testing.assert_allclose(hinge_generator_loss(FAKE), -FAKE.mean(), rtol=1e-6)
