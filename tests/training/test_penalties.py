import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers.spectral_normalization import spectrally_normalized_layers
from hamgan.networks import Discriminator
from hamgan.random_streams import Purpose, fold
from hamgan.training.penalties import consistency_penalty, lecam_penalty, r1_penalty

# The one-step gradient of a ham is not the gradient of its output.
CONTEXTS = {
    "none": [],
    "self_attention": [{"module": "self_attention", "resolution": 8}],
    "hamburger": [
        {"module": "hamburger", "resolution": 8, "latent_dim": 4, "rank": 2, "num_steps": 2, "gradient": "unrolled"}
    ],
}


def test_lecam_penalty():
    real, fake = np.random.default_rng(0).normal(size=(2, 5, 1))
    expected = np.mean((real + 0.5) ** 2) + np.mean((fake - 2.0) ** 2)
    averages = tf.constant([2.0, -0.5], tf.float32)
    assert float(lecam_penalty(tf.constant(real), tf.constant(fake), averages)) == pytest.approx(expected)


def test_consistency_penalty():
    one, other = np.random.default_rng(0).normal(size=(2, 5, 1))
    assert float(consistency_penalty(tf.constant(one), tf.constant(other))) == pytest.approx(
        np.mean((one - other) ** 2)
    )


def _discriminator(context, form):
    discriminator = Discriminator(
        resolution=32,
        num_classes=3,
        base_channels=4,
        context=CONTEXTS[context],
        convolution_form=form,
        dtype="float64",
    )
    for module in discriminator.context:
        module.sigma.assign(0.7)
    for layer in spectrally_normalized_layers(discriminator):
        # The gradient treats the singular vectors as constants, which is exact where they have converged.
        matrix = layer.kernel.numpy()
        matrix = matrix.T if layer is discriminator.embedding else matrix.reshape(-1, matrix.shape[-1])
        layer.u.assign(np.linalg.svd(matrix)[0][:, :1])
    images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)))
    labels = tf.constant([2, 0])
    bases = discriminator.draw_initial_bases(fold(5), Purpose.DISCRIMINATOR_BASES_REAL, first=0, count=2)

    def logits_of(images):
        return discriminator(images, labels, training=False, initial_bases=bases)

    return discriminator, images, logits_of


@pytest.mark.parametrize(
    ("context", "form"), [("none", "plain"), ("none", "products"), ("self_attention", "auto"), ("hamburger", "strided")]
)
def test_r1_penalty_and_its_gradient_equal_finite_differences(context, form):
    discriminator, images, logits_of = _discriminator(context, form)
    variables = discriminator.trainable_variables

    def penalty_and_gradients():
        with tf.GradientTape() as tape:
            penalty = r1_penalty(logits_of, images)
        return penalty, tape.gradient(penalty, [variable.value for variable in variables])

    def total(images):
        return tf.reduce_sum(logits_of(images))

    penalty, gradients = penalty_and_gradients()
    # The penalty: along a direction v, the derivative of the logits is the inner product of their gradient and v.
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = total(images)
    gradient = tape.gradient(value, images)
    direction = gradient / tf.norm(gradient)
    step = 1e-5
    slope = (total(images + step * direction) - total(images - step * direction)) / (2 * step)
    assert float(penalty) == pytest.approx(0.5 * float(slope) ** 2 / 2, rel=1e-5)

    # Its gradient, along a random direction in the space of all weights that influence it.
    rng = np.random.default_rng(1)
    directions = [None if g is None else rng.normal(size=g.shape) for g in gradients]
    assert sum(g is not None for g in gradients) > 0.5 * len(gradients)
    assert any(v.path.endswith("embeddings") and g is not None for v, g in zip(variables, gradients, strict=True))
    expected = sum(np.vdot(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None)
    # A small step, because the gradient of a relu network jumps where a relu switches.
    step = 1e-8
    before = [variable.numpy() for variable in variables]
    values = []
    for sign in (1, -1):
        for variable, old, d in zip(variables, before, directions, strict=True):
            if d is not None:
                variable.assign(old + sign * step * d)
        values.append(float(penalty_and_gradients()[0]))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(expected), rel=1e-4)
