import float64_reference as reference
import keras
import numpy as np
import pytest

from hamgan import random_streams
from hamgan.architecture import HAM_NAMES
from hamgan.layers import Hamburger

BATCH, HEIGHT, WIDTH, CHANNELS = 3, 2, 4, 6
LATENT_DIM, RANK, NUM_STEPS, NUM_CLASSES = 5, 3, 4, 4
LABELS = np.array([3, 0, 3])


def images(seed=0):
    return np.random.default_rng(seed).normal(size=(BATCH, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)


def bases(num_sections, ham="nmf", batch=BATCH):
    rng = np.random.default_rng(1)
    draw = rng.uniform if ham == "nmf" else rng.normal
    return draw(size=(batch * num_sections, LATENT_DIM, RANK)).astype(np.float32)


def built_block(sigma=0.7, **arguments):
    layer = Hamburger(LATENT_DIM, RANK, num_steps=NUM_STEPS, **arguments)
    layer.build((None, None, None, CHANNELS))
    rng = np.random.default_rng(2)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    if layer.normalization is not None:
        layer.normalization.moving_variance.assign(rng.uniform(0.5, 2, CHANNELS))
    layer.sigma.assign(sigma)
    return layer


def expected_block(layer, x, initial_bases, training):
    x = x.astype(np.float64)
    batch, height, width, _ = x.shape
    sections, positions = layer.num_sections, height * width

    def conv(images, part):
        kernel = part.kernel.numpy().astype(np.float64).reshape(-1, part.filters)
        return images @ (kernel / reference.spectral_norm(kernel, part.u.numpy())[0])

    def normalize(images):
        norm = layer.normalization
        if norm is None:
            return images
        gamma, beta = norm.gamma.numpy(), norm.beta.numpy()
        if layer.batch_norm == "conditional":
            gamma, beta = gamma[LABELS][:, None, None], beta[LABELS][:, None, None]
        statistics = () if training else (norm.moving_mean.numpy(), norm.moving_variance.numpy())
        return reference.batch_norm(images, gamma, beta, *statistics)

    lower = conv(x, layer.lower_bread).reshape(batch, positions, sections * LATENT_DIM)
    latent = np.empty((batch * sections, LATENT_DIM, positions))
    for b in range(batch):
        for s in range(sections):
            for d in range(LATENT_DIM):
                latent[b * sections + s, d] = lower[b, :, s * LATENT_DIM + d]
    context = reference.DECOMPOSITIONS[layer.ham_name](latent, initial_bases, NUM_STEPS)
    back = np.empty((batch, positions, sections * LATENT_DIM))
    for b in range(batch):
        for s in range(sections):
            for d in range(LATENT_DIM):
                back[b, :, s * LATENT_DIM + d] = context[b * sections + s, d]
    y = back.reshape(batch, height, width, -1)
    if layer.version == "v1":
        y = normalize(conv(y, layer.upper_bread))
    else:
        y = conv(np.maximum(normalize(conv(y, layer.cheese)), 0), layer.upper_bread)
    return x + layer.sigma.numpy() * y


NORMALIZATIONS = {
    "none": {},
    "plain": {"batch_norm": "plain"},
    "conditional": {"batch_norm": "conditional", "num_classes": NUM_CLASSES},
}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("ham", HAM_NAMES)
@pytest.mark.parametrize("num_sections", [1, 2])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("training", [False, True])
def test_block_matches_the_float64_definition(version, ham, num_sections, normalization, training):
    layer = built_block(version=version, ham=ham, num_sections=num_sections, **NORMALIZATIONS[normalization])
    x, initial_bases = images(), bases(num_sections, ham)
    expected = expected_block(layer, x, initial_bases, training)
    labels = LABELS if normalization == "conditional" else None
    outputs = layer(x, labels, training=training, initial_bases=initial_bases)
    # Compares the context alone: the residual would hide errors.
    assert reference.relative_error(outputs - x, expected - x) < 1e-5


def test_sections_have_separate_bases():
    layer = built_block(num_sections=2)
    x, initial_bases = images(), bases(2)
    swapped = initial_bases.copy()
    swapped[0], swapped[1] = initial_bases[1], initial_bases[0]
    one, other = (layer(x, initial_bases=given).numpy() for given in (initial_bases, swapped))
    assert np.abs(one[0] - other[0]).max() > 1e-3
    np.testing.assert_allclose(one[1:], other[1:], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("training", [False, True])
def test_block_is_initially_the_identity(version, training):
    x = images()
    layer = Hamburger(LATENT_DIM, RANK, version=version, seed=0)
    np.testing.assert_array_equal(layer(x, training=training), x)
    assert layer.sigma.shape == ()


@pytest.mark.parametrize("ham", ["nmf", "cd"])
def test_initial_bases_depend_on_key_and_image_only(ham):
    layer = Hamburger(LATENT_DIM, RANK, num_sections=2, ham=ham)
    key = random_streams.fold(3)
    drawn = layer.draw_initial_bases(key, first=0, count=5)
    assert drawn.shape == bases(2, batch=5).shape
    np.testing.assert_allclose(layer.draw_initial_bases(key, first=3, count=2), drawn[6:], rtol=1e-6)
    assert np.abs(drawn[2:4] - drawn[:2]).min() > 0
    assert (drawn.numpy().min() >= 0) == (ham == "nmf")


def test_context_depends_on_all_positions():
    layer = built_block()
    x, given = images(), bases(1)
    changed = x.copy()
    changed[0, 0, 0] += 1
    difference = np.abs(layer(changed, initial_bases=given) - layer(x, initial_bases=given)).max(-1)
    assert difference[0].min() > 1e-6
    np.testing.assert_array_equal(difference[1:], 0)


@pytest.mark.parametrize("num_sections", [1, 2])
def test_batch_height_and_width_may_be_unknown(num_sections):
    layer = built_block(num_sections=num_sections)
    inputs, initial_bases = keras.Input((None, None, CHANNELS)), keras.Input((LATENT_DIM, RANK))
    outputs = layer(inputs, initial_bases=initial_bases)
    assert outputs.shape == (None, None, None, CHANNELS)
    model = keras.Model([inputs, initial_bases], outputs)
    for shape in ((1, 3, 5), (2, 4, 2)):
        x = np.random.default_rng(3).normal(size=(*shape, CHANNELS)).astype(np.float32)
        given = bases(num_sections, batch=shape[0])
        expected = expected_block(layer, x, given, training=False)
        # Not predict(): it rejects inputs with different first dimensions, as with two sections.
        assert reference.relative_error(model([x, given]), expected) < 1e-5


def test_block_trains_in_a_functional_model_that_can_be_saved(tmp_path):
    keras.utils.set_random_seed(0)
    inputs, labels = keras.Input((8, 8, 3)), keras.Input((), dtype="int32")
    initial_bases = keras.Input((LATENT_DIM, RANK))
    hidden = keras.layers.Conv2D(CHANNELS, 3, padding="same")(inputs)
    block = Hamburger(LATENT_DIM, RANK, ham="cd", batch_norm="conditional", num_classes=NUM_CLASSES, version="v2")
    hidden = block(hidden, labels, initial_bases=initial_bases)
    outputs = keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(hidden))
    model = keras.Model([inputs, labels, initial_bases], outputs)
    model.compile("adam", "mse")
    x = [np.random.default_rng(4).normal(size=(BATCH, 8, 8, 3)).astype(np.float32), LABELS, bases(1, "cd")]
    block.sigma.assign(0.5)
    changing = [weight for weight in block.weights if weight.name != "fixed_bases"]
    assert len(changing) == len(block.weights) - 1
    before = [weight.numpy() for weight in changing]
    history = model.fit(x, np.ones((BATCH, 1)), batch_size=BATCH, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    assert all(np.abs(weight.numpy() - old).max() > 0 for weight, old in zip(changing, before, strict=True))

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("evaluation_bases", ["random", "fixed"])
def test_block_needs_no_initial_bases_in_a_functional_model(tmp_path, evaluation_bases):
    block = Hamburger(LATENT_DIM, RANK, num_steps=0, evaluation_bases=evaluation_bases, name="context")
    model = keras.Sequential([keras.Input((8, 8, 3)), block, keras.layers.Flatten()])
    model.compile("sgd", "mse")
    x = np.random.default_rng(4).normal(size=(2, 8, 8, 3)).astype(np.float32)
    model.fit(x, np.zeros((2, 192)), epochs=1, verbose=0)
    block.sigma.assign(1.0)
    first, second = (model.predict(x, verbose=0) for _ in range(2))
    assert (np.abs(first - second).max() > 1e-4) == (evaluation_bases == "random")
    if evaluation_bases == "fixed":
        np.testing.assert_array_equal(first, second)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for weight, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    if evaluation_bases == "fixed":
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ham": "pca"}, "ham must be one of .*'pca'"),
        ({"version": "v3"}, "version must be one of .*'v3'"),
        ({"batch_norm": "group"}, "batch_norm must be one of .*'group'"),
        ({"latent_dim": 0}, "latent_dim and num_sections must be positive, received 0"),
        ({"num_sections": 0}, "latent_dim and num_sections must be positive, received 5 and 0"),
        ({"rank": 0}, "rank must be positive"),
        ({"num_steps": -1}, "num_steps not negative"),
        ({"batch_norm": "conditional"}, "num_classes goes with"),
        ({"num_classes": 3}, "num_classes goes with"),
        ({"batch_norm": "conditional", "num_classes": 0}, "num_classes must be positive"),
        ({"batch_norm": "plain", "batch_norm_momentum": 1.0}, "momentum must be in"),
    ],
)
def test_arguments_out_of_range_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        Hamburger(**{"latent_dim": LATENT_DIM, "rank": RANK, **arguments})(images())


@pytest.mark.parametrize("shape", [(None, 4, CHANNELS), (None, 4, 4, None)])
def test_other_shapes_are_rejected(shape):
    with pytest.raises(ValueError, match=r"expects \(batch, height, width, channels\)"):
        Hamburger(LATENT_DIM, RANK).build(shape)


def test_conditional_block_requires_labels():
    with pytest.raises(ValueError, match="expects labels"):
        built_block(batch_norm="conditional", num_classes=NUM_CLASSES)(images())


def test_labels_without_conditional_normalisation_are_rejected():
    with pytest.raises(ValueError, match="has batch_norm='plain' and expects no labels"):
        built_block(batch_norm="plain")(images(), LABELS)


def test_inputs_of_another_rank_or_width_are_rejected():
    layer = built_block()
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        layer(images()[0])
    with pytest.raises(ValueError, match=f"expected axis -1 of input shape to have value {CHANNELS}"):
        layer(images()[..., :1])


@pytest.mark.parametrize("num_sections", [1, 2])
@pytest.mark.parametrize("rows", [1, BATCH, 2 * BATCH, 4 * BATCH])
def test_initial_bases_for_another_number_of_sections_are_rejected(num_sections, rows):
    layer = built_block(num_sections=num_sections)
    given = bases(1, batch=rows)
    if rows == BATCH * num_sections:
        assert layer(images(), initial_bases=given).shape == images().shape
    else:
        with pytest.raises(ValueError, match=r"initial_bases must have shape .*one for each section of each image"):
            layer(images(), initial_bases=given)
