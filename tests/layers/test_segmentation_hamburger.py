"""The Hamburger blocks of segmentation networks, compared with published arrays and with float64 NumPy."""

from pathlib import Path

import float64_reference as reference
import keras
import numpy as np
import pytest
import tensorflow as tf

from hamgan.layers import SegmentationContext, SegmentationHamburger, fix_bases

GOLDEN = Path(__file__).parent.parent / "golden_seg"
FILES = sorted(path.stem for path in GOLDEN.glob("burger_*.npz"))
CHANNELS, RANK, LATENT_DIM, NUM_STEPS = 7, 3, 4, 3


def variable(block, path):
    for attribute in path.split("."):
        block = getattr(block, attribute)
    return block


NORMALIZATION = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def own_path(name):
    """The path of our weight for a published name."""
    layer, _, kind = name.rpartition(".")
    if name.startswith("coef"):
        return {"coef_ham": "ham_scale", "coef_shortcut": "shortcut_scale"}[name]
    if layer in ("upper_bread.1", "cheese.bn"):
        return f"normalization.{NORMALIZATION[kind]}"
    return f"{layer.split('.')[0]}.{'kernel' if kind == 'weight' else 'bias'}"


def own_layout(value):
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value


def published_block(golden, dtype):
    version, sections = str(golden["version"]), int(golden["S"])
    ham = str(golden["ham"]).lower()
    is_plus = version == "V2+"
    settings = {"inverse_temperature": float(golden["inv_t"]), "ridge": float(golden["ridge"])} if ham == "cd" else {}
    block = SegmentationHamburger(
        int(golden["D"]) if is_plus else int(golden["D"]) // sections,
        int(golden["R"]),
        num_steps=int(golden["train_steps"]),
        evaluation_steps=int(golden["eval_steps"]),
        num_sections=sections,
        ham=ham,
        version={"V1": "v1", "V2": "v2", "V2+": "v2plus"}[version],
        form="dual" if golden["dual"] else "spatial",
        cheese_factor=int(golden["cheese_factor"]) if is_plus else None,
        batch_norm_momentum=1 - float(golden["bn_momentum"]),
        dtype=dtype,
        **settings,
    )
    block.build(golden["x"].shape)
    weights = {key[2:]: value for key, value in golden.items() if key.startswith("w:")}
    trained = {own_path(name) for name in weights}
    assert {weight.path for weight in block.weights if not weight.path.endswith("fixed_bases")} == {
        variable(block, path).path for path in trained
    }
    for name, value in weights.items():
        weight = variable(block, own_path(name))
        weight.assign(own_layout(value).reshape(weight.shape))
    return block


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FILES)
def test_block_matches_the_published_code(name, dtype):
    with np.load(GOLDEN / f"{name}.npz") as file:
        golden = dict(file)
    block = published_block(golden, dtype)
    bases = [golden[key] for key in ("bases0_0", "bases0_1") if key in golden]
    bases = bases[0] if len(bases) == 1 else bases
    x, upstream = tf.constant(golden["x"], dtype), tf.constant(golden["dy"], dtype)
    for phase, training in (("eval", False), ("train", True)):
        sources = {key: variable(block, own_path(key[2:])).value for key in golden if key.startswith("g:")}
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x, training=training, initial_bases=bases)
        dx, gradients = tape.gradient(y, (x, sources), upstream)
        assert y.dtype == dtype
        assert reference.relative_error(y, golden[f"y_{phase}"]) < 1e-5
        assert reference.relative_error(dx, golden[f"dx_{phase}"]) < 1e-5
    assert len(gradients) == len(block.trainable_weights)
    largest = max(np.abs(golden[key]).max() for key in gradients)
    for key, gradient in gradients.items():
        expected = own_layout(golden[key]).reshape(gradient.shape)
        if np.abs(expected).max() < 1e-5 * largest:  # Zero up to rounding: a bias before a batch normalisation.
            assert np.abs(gradient).max() < 1e-5 * largest, key
        else:
            assert reference.relative_error(gradient, expected) < 1e-4, key
    new = [key for key in golden if key.startswith("new:")]
    assert len(new) == 2
    for key in new:
        old, average = golden[f"w:{key[4:]}"], variable(block, own_path(key[4:])).numpy()
        assert reference.relative_error(average, golden[key]) < 1e-6
        # float32 rounds the small change.
        assert reference.relative_error(average - old, golden[key] - old) < 2e-3


def images(height=5, width=6, batch=2, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, height, width, CHANNELS))


def built(*, dtype="float64", **arguments):
    settings = {"latent_dim": LATENT_DIM, "rank": RANK, "num_steps": NUM_STEPS, "seed": 3, "ham": "nmf"}
    block = SegmentationHamburger(**{**settings, **arguments}, dtype=dtype)
    block.build((None, None, None, CHANNELS))
    rng = np.random.default_rng(1)
    for weight in block.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    block.normalization.moving_mean.assign(rng.normal(size=block.normalization.moving_mean.shape))
    block.normalization.moving_variance.assign(rng.uniform(0.5, 2, block.normalization.moving_mean.shape))
    return block


def draw_bases(block, dim, batch=2, seed=2):
    rng = np.random.default_rng(seed)
    draw = rng.uniform if block.ham_name == "nmf" else rng.normal
    return draw(size=(batch * block.num_sections, dim, RANK))


def bases_for(block, x):
    spatial, channel = draw_bases(block, LATENT_DIM, len(x)), draw_bases(block, x.shape[1] * x.shape[2], len(x))
    return {"spatial": spatial, "channel": channel, "dual": [spatial, channel]}[block.form]


def decomposed(block, latent, bases, *, by_channel):
    """The definition, section by section and channel by channel."""
    batch, height, width, channels = latent.shape
    sections, dim = block.num_sections, channels // block.num_sections
    matrices = np.empty((batch * sections, *((height * width, dim) if by_channel else (dim, height * width))))
    for b in range(batch):
        for s in range(sections):
            for d in range(dim):
                values = latent[b, :, :, s * dim + d].ravel()
                matrices[b * sections + s][(slice(None), d) if by_channel else d] = values
    if block.ham_name == "nmf":
        result = reference.nmf(matrices, bases / np.linalg.norm(bases, axis=1, keepdims=True), NUM_STEPS)
    elif block.ham_name == "cd":
        result = reference.cd(matrices, bases, NUM_STEPS, ridge=0.1)
    else:
        result = reference.vq(matrices, bases, NUM_STEPS)
    outputs = np.empty_like(latent)
    for b in range(batch):
        for s in range(sections):
            for d in range(dim):
                values = result[b * sections + s][(slice(None), d) if by_channel else d]
                outputs[b, :, :, s * dim + d] = values.reshape(height, width)
    return outputs


def expected_block(block, x, bases, training):
    def conv(inputs, layer):
        outputs = inputs @ layer.kernel.numpy()[0, 0]
        return outputs + layer.bias.numpy() if layer.use_bias else outputs

    def normalize(inputs):
        norm = block.normalization
        if training:
            mean, variance = inputs.mean((0, 1, 2)), inputs.var((0, 1, 2))
        else:
            mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
        return norm.gamma.numpy() * (inputs - mean) / np.sqrt(variance + 1e-5) + norm.beta.numpy()

    latent = conv(x, block.lower_bread)
    if block.form == "dual":
        half = latent.shape[-1] // 2
        context = np.concatenate(
            [
                decomposed(block, latent[..., :half], bases[0], by_channel=False),
                decomposed(block, latent[..., half:], bases[1], by_channel=True),
            ],
            axis=-1,
        )
    else:
        context = decomposed(block, latent, bases, by_channel=block.form == "channel")
    if block.version == "v1":
        branch = normalize(conv(context, block.upper_bread))
    else:
        branch = conv(np.maximum(normalize(conv(context, block.cheese)), 0), block.upper_bread)
    if block.version == "v2plus":
        a, b = block.ham_scale.numpy(), block.shortcut_scale.numpy()
        return branch, np.maximum(a * branch + b * x, 0)
    return branch, np.maximum(branch + x, 0)


BLOCKS = {
    "v1_nmf": {"version": "v1"},
    "v1_cd_channel": {"version": "v1", "ham": "cd", "form": "channel"},
    "v2_vq_sections": {"ham": "vq", "num_sections": 2},
    "v2_nmf_channel_sections": {"form": "channel", "num_sections": 3},
    "v2plus_cd_sections": {"version": "v2plus", "ham": "cd", "num_sections": 2},
    "v2plus_nmf_dual_sections": {"version": "v2plus", "form": "dual", "num_sections": 2},
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(3, 7), (8, 8)])
@pytest.mark.parametrize("name", BLOCKS)
def test_block_matches_the_float64_definition(name, size, training):
    block, x = built(**BLOCKS[name]), images(*size, seed=4)
    bases = bases_for(block, x)
    branch, expected = expected_block(block, x, bases, training)
    outputs = block(x, training=training, initial_bases=bases)
    assert reference.relative_error(outputs, expected) < 1e-12
    assert reference.relative_error(block.branch(x, training=training, initial_bases=bases), branch) < 1e-12
    assert 0.1 < np.mean(expected == 0) < 0.9


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_match_finite_differences(name):
    block, x = built(gradient="unrolled", **BLOCKS[name]), tf.Variable(images())
    bases, rng = bases_for(block, images()), np.random.default_rng(5)
    upstream = rng.normal(size=x.shape)

    def loss():
        return tf.reduce_sum(block(tf.convert_to_tensor(x), initial_bases=bases) * upstream)

    names, sources = ["x"], [x]
    for weight in block.trainable_weights:
        names.append(weight.path)
        sources.append(weight.value)
    with tf.GradientTape() as tape:
        value = loss()
    for name, source, gradient in zip(names, sources, tape.gradient(value, sources), strict=True):
        start, direction, sides = source.numpy(), rng.normal(size=source.shape), []
        for step in (1e-6, -1e-6):
            source.assign(start + step * direction)
            sides.append(loss().numpy())
        source.assign(start)
        slope = (sides[0] - sides[1]) / 2e-6
        assert abs(np.sum(gradient * direction) - slope) < 1e-5 * abs(slope) + 1e-6, name


def test_initial_values_are_the_published_ones():
    keras.utils.set_random_seed(0)
    block = SegmentationHamburger(64, RANK, version="v2plus", num_sections=2, cheese_factor=1)
    block.build((None, None, None, 100))
    for layer, outputs in ((block.lower_bread, 128), (block.cheese, 128), (block.upper_bread, 100)):
        kernel = layer.kernel.numpy()
        assert kernel.std() == pytest.approx(np.sqrt(2 / outputs), rel=0.03)
        assert np.abs(kernel).max() > 3 * kernel.std()  # Normal, not uniform.
    bias = block.lower_bread.bias.numpy()
    assert np.abs(bias).max() < 0.1 < 1.1 * np.abs(bias).max()
    assert bias.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.15)
    assert (block.ham_scale.numpy(), block.shortcut_scale.numpy()) == (0, 1)
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 100)).astype(np.float32)
    np.testing.assert_array_equal(block(x), np.maximum(x, 0))
    other = SegmentationHamburger(LATENT_DIM, RANK, version="v2plus", zero_ham=False)
    other.build((None, None, None, CHANNELS))
    assert other.ham_scale.numpy() == 1


@pytest.mark.parametrize(("factor", "form", "width"), [(None, "spatial", 4), (1, "spatial", 12), (2, "dual", 6)])
def test_cheese_factor_divides_the_width_of_the_cheese(factor, form, width):
    block = built(version="v2plus", num_sections=3, cheese_factor=factor, form=form)
    assert block.cheese.filters == width
    assert block.lower_bread.filters == (24 if form == "dual" else 12)


@pytest.mark.parametrize("form", ["spatial", "channel", "dual"])
def test_evaluation_is_deterministic_at_every_size_and_after_saving(form, tmp_path):
    inputs = keras.Input((None, None, CHANNELS))
    block = SegmentationHamburger(LATENT_DIM, RANK, version="v2plus", form=form, zero_ham=False)
    model = keras.Model(inputs, block(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, CHANNELS))])
    for size in ((3, 5), (4, 2)):
        x = images(*size, batch=3).astype(np.float32)
        outputs = model(x)
        np.testing.assert_array_equal(model(x), outputs)
        np.testing.assert_array_equal(loaded(x), outputs)
        assert reference.relative_error(compiled(x), outputs) < 1e-5
        # Images do not depend on the others of a batch.
        np.testing.assert_allclose(model(x[1:]), outputs[1:], rtol=1e-5, atol=1e-5)
        assert reference.relative_error(outputs, np.maximum(x, 0)) > 1e-2
    assert np.abs(block(x, training=True) - block(x, training=True)).max() > 1e-4  # Random bases.


def test_fixed_bases_of_the_channel_form_depend_on_the_seed():
    x = images()
    one, same, other = (built(form="channel", seed=seed, name="block")(x) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert reference.relative_error(other, one) > 1e-3


def test_running_bases_move_in_training_only():
    block = built(version="v1", ham="cd", bases="running", evaluation_bases="running", bases_momentum=0.5)
    running = block.spatial_ham.running_bases
    before = running.numpy()
    block(images())
    np.testing.assert_array_equal(running, before)
    block(images(), training=True)
    assert np.abs(running - before).max() > 1e-2


@pytest.mark.parametrize("evaluation_bases", ["random", "fixed"])
def test_fix_bases_converts_a_block_with_random_bases(evaluation_bases):
    inputs = keras.Input((None, None, CHANNELS))
    settings = {"version": "v2plus", "form": "dual", "zero_ham": False, "evaluation_bases": evaluation_bases}
    model = keras.Model(inputs, SegmentationHamburger(LATENT_DIM, RANK, **settings)(inputs))
    x = images().astype(np.float32)
    assert (np.abs(model(x) - model(x)).max() > 1e-4) == (evaluation_bases == "random")
    fixed = fix_bases(model, seed=3)
    np.testing.assert_array_equal(fixed(x), fixed(x))
    assert reference.relative_error(fixed(x), np.maximum(x, 0)) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v1", "v2", "v2plus"])
def test_spatial_form_in_saved_model_and_tflite(version, tmp_path):
    inputs = keras.Input((5, 6, CHANNELS))
    ham = "cd" if version == "v2" else "nmf"
    block = SegmentationHamburger(LATENT_DIM, RANK, version=version, ham=ham, num_sections=2, zero_ham=False)
    model, x = keras.Model(inputs, block(inputs)), images(batch=1).astype(np.float32)
    expected = model(x)
    model.export(str(tmp_path), verbose=False)
    assert reference.relative_error(tf.saved_model.load(str(tmp_path)).serve(tf.constant(x)), expected) < 1e-5
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    outputs = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert reference.relative_error(outputs, expected) < 1e-5


@pytest.mark.parametrize("version", ["v1", "v2", "v2plus"])
def test_context_adds_the_branch_of_the_block(version):
    block = built(version=version)
    context = SegmentationContext(
        *(LATENT_DIM, RANK),
        version=version,
        spectral_norm=False,
        batch_norm="plain",
        num_steps=NUM_STEPS,
        dtype="float64",
    )
    context.build((None, None, None, CHANNELS))
    context.normalization.epsilon = 1e-5
    sources = {weight.path.partition("/")[2]: weight for weight in block.weights}
    for weight in context.weights:
        name = weight.path.partition("/")[2]
        weight.assign(0.7 if name == "sigma" else sources[name])
    x = images()
    bases = bases_for(block, x)
    for training in (False, True):
        expected = x + 0.7 * block.branch(x, training=training, initial_bases=bases)
        outputs = context(x, training=training, initial_bases=bases)
        assert reference.relative_error(outputs, expected) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"version": "v3"}, r"version must be one of \('v1', 'v2', 'v2plus'\), received 'v3'"),
        ({"form": "both"}, r"form must be one of \('spatial', 'channel', 'dual'\), received 'both'"),
        ({"ham": "pca"}, "ham must be one of .*received 'pca'"),
        ({"latent_dim": 0}, "latent_dim and num_sections must be positive, received 0 and 1"),
        ({"form": "dual"}, "go with version='v2plus', received form='dual' and cheese_factor=None with 'v2'"),
        ({"cheese_factor": 2}, "go with version='v2plus', received form='spatial' and cheese_factor=2 with 'v2'"),
        ({"version": "v2plus", "cheese_factor": 5}, r"cheese_factor must be in \[1, 4\], received 5"),
        ({"form": "channel", "bases": "running"}, "running bases need form='spatial', received 'channel'"),
        ({"ridge": 0.1}, "ridge is not a setting of ham 'nmf'"),
        ({"inverse_temperature": 10.0}, "inverse_temperature is not a setting of ham 'nmf'"),
    ],
)
def test_arguments_out_of_range_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        built(**arguments)


def test_a_context_has_the_spatial_form():
    with pytest.raises(ValueError, match="has form='spatial', received 'channel'"):
        SegmentationContext(LATENT_DIM, RANK, form="channel")


def test_the_dual_form_needs_a_pair_of_bases():
    block, x = built(version="v2plus", form="dual"), images()
    with pytest.raises(ValueError, match="expects a pair of initial_bases, received 1"):
        block(x, initial_bases=bases_for(block, x)[:1])
