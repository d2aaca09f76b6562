"""Sources of initial bases, in training and evaluation."""

import itertools
import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from replica_of_two import ReplicaOfTwo

from hamgan.layers import NMF, Hamburger, fix_bases
from hamgan.layers.hams import HAMS
from hamgan.networks import Discriminator, Generator

LATENT_DIM, RANK, SECTIONS, BATCH = 5, 3, 2, 4
KINDS = ["random", "fixed", "running"]
every_ham = pytest.mark.parametrize("ham", HAMS)


def inputs(rows=BATCH * SECTIONS, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=(rows, 6, LATENT_DIM)), tf.float32)


def built(ham="nmf", name="ham", num_sections=SECTIONS, **settings):
    layer = HAMS[ham](rank=RANK, num_steps=2, num_sections=num_sections, name=name, **{"seed": 1, **settings})
    layer.build((None, None, LATENT_DIM))
    return layer


def images():
    return np.random.default_rng(0).normal(size=(3, 4, 4, 6)).astype(np.float32)


def functional_model(**settings):
    """A model with two named Hamburgers."""
    given = keras.Input((4, 4, 6))
    hidden = given
    for name in ("first", "second"):
        hidden = Hamburger(LATENT_DIM, RANK, num_sections=SECTIONS, name=name, **settings)(hidden)
    model = keras.Model(given, hidden)
    for name in ("first", "second"):
        model.get_layer(name).sigma.assign(1.0)
    return model


@pytest.mark.parametrize(("bases", "evaluation_bases"), itertools.product(KINDS, KINDS))
def test_only_the_selected_kinds_of_bases_have_weights(bases, evaluation_bases):
    layer = built(bases=bases, evaluation_bases=evaluation_bases)
    assert not layer.trainable_weights
    kinds = {bases, evaluation_bases}
    assert [weight.name for weight in layer.weights] == [
        f"{kind}_bases" for kind in ("fixed", "running") if kind in kinds
    ]
    assert all(tuple(weight.shape) == (SECTIONS, LATENT_DIM, RANK) for weight in layer.weights)
    for training, kind in ((True, bases), (False, evaluation_bases)):
        before = None if layer.running_bases is None else layer.running_bases.numpy()
        results = [layer(inputs(), training=training).numpy() for _ in range(2)]
        moved = before is not None and np.abs(layer.running_bases - before).max() > 1e-4
        assert moved == (training and "running" in kinds)
        changes = kind == "random" or (kind == "running" and training)
        assert (np.abs(results[0] - results[1]).max() > 1e-5) == changes


@every_ham
@pytest.mark.parametrize("kind", ["fixed", "running"])
def test_all_images_share_stored_bases_and_each_section_has_its_own(ham, kind):
    layer = built(ham, bases=kind, evaluation_bases=kind)
    weight = layer.fixed_bases if kind == "fixed" else layer.running_bases
    expected = layer(inputs(), initial_bases=np.tile(weight, (BATCH, 1, 1)), training=False)
    np.testing.assert_allclose(layer(inputs(), training=False), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(weight[0] - weight[1]).max() > 0.1


@pytest.mark.parametrize("training", [True, False])
def test_incomplete_sections_are_rejected(training):
    layer = built(bases="fixed", evaluation_bases="running")
    with pytest.raises(
        ValueError, match=r"inputs must have 2 rows, one for each section, for each image; received \(1, 6, 5\)"
    ):
        layer(inputs(1), training=training)
    for jit_compile in (False, True):
        call = tf.function(
            lambda x: layer(x, training=training),
            input_signature=[tf.TensorSpec((None, None, LATENT_DIM))],
            jit_compile=jit_compile,
        )
        assert call(inputs(4)).shape == (4, 6, LATENT_DIM)
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="reshape" if jit_compile else "inputs must have 2 rows"
        ):
            call(inputs(1))


def test_initial_bases_of_the_call_take_precedence():
    layer = built(bases="running", evaluation_bases="fixed")
    before = layer.running_bases.numpy()
    bases = np.random.default_rng(1).uniform(size=(BATCH * SECTIONS, LATENT_DIM, RANK)).astype(np.float32)
    for training in (True, False):
        expected = built(bases="random", evaluation_bases="random")(inputs(), initial_bases=bases, training=training)
        np.testing.assert_array_equal(layer(inputs(), initial_bases=bases, training=training), expected)
    np.testing.assert_array_equal(layer.running_bases, before)


@every_ham
def test_evaluation_may_have_another_number_of_steps(ham):
    bases = np.random.default_rng(1).uniform(size=(BATCH * SECTIONS, LATENT_DIM, RANK)).astype(np.float32)
    layer, shorter = built(ham, evaluation_steps=5), built(ham)
    given = {"initial_bases": bases}
    np.testing.assert_allclose(layer(inputs(), **given, training=True), shorter(inputs(), **given, training=True))
    shorter.num_steps = 5
    np.testing.assert_allclose(layer(inputs(), **given, training=False), shorter(inputs(), **given, training=False))
    assert np.abs(layer(inputs(), **given, training=False) - layer(inputs(), **given, training=True)).max() > 1e-4


def test_fixed_bases_depend_on_seed_and_name():
    first = built().fixed_bases.numpy()
    np.testing.assert_array_equal(built().fixed_bases, first)
    for other in (built(seed=2), built(name="other"), built(seed=None)):
        assert np.abs(other.fixed_bases - first).max() > 0.1


@pytest.mark.parametrize("evaluation_bases", ["random", "fixed"])
def test_layers_of_one_model_with_the_same_seed_draw_different_bases(evaluation_bases):
    model = functional_model(seed=3, evaluation_bases=evaluation_bases)
    first, second = (model.get_layer(name).ham for name in ("first", "second"))
    if evaluation_bases == "fixed":
        drawn = first.fixed_bases.numpy(), second.fixed_bases.numpy()
    else:
        drawn = first.draw_bases(2, LATENT_DIM).numpy(), second.draw_bases(2, LATENT_DIM).numpy()
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1


def test_replicas_draw_different_random_bases_and_have_the_same_fixed_ones(two_replicas):
    with two_replicas.scope():
        layer = built(evaluation_bases="random")
        fixed = built()
    np.testing.assert_array_equal(fixed.fixed_bases, built().fixed_bases)

    @tf.function
    def draw():
        return two_replicas.run(lambda: layer.draw_bases(2, LATENT_DIM))

    first, second = two_replicas.experimental_local_results(draw())
    assert np.abs(first - second).max() > 0.1


def test_running_bases_move_towards_the_mean_over_all_replicas(monkeypatch):
    """Three images on one replica and one on the other; each has the same weight."""
    whole = inputs(4)
    alone = built(num_sections=1, bases="running")
    start = alone.running_bases.numpy()
    alone(whole, training=True)

    second = ReplicaOfTwo()
    monkeypatch.setattr("tensorflow.distribute.get_replica_context", lambda: second)
    built(num_sections=1, bases="running")(whole[3:], training=True)
    first = ReplicaOfTwo(others=second.own)
    monkeypatch.setattr("tensorflow.distribute.get_replica_context", lambda: first)
    spread = built(num_sections=1, bases="running")
    spread(whole[:3], training=True)
    np.testing.assert_allclose(spread.running_bases, alone.running_bases, rtol=0, atol=1e-6)
    assert np.abs(spread.running_bases - start).max() > 1e-3


def test_an_empty_batch_does_not_change_running_bases():
    layer = built("cd", bases="running")
    layer(inputs(), training=True)
    before = layer.running_bases.numpy()
    layer(inputs(0), training=True)
    np.testing.assert_allclose(layer.running_bases, before, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [-1, -12345, 2**40 + 1])
def test_seeds_of_any_size_give_the_same_bases_with_and_without_xla(seed):
    drawn = []
    for jit_compile in (False, True):
        layer = built(seed=seed)
        call = tf.function(lambda layer=layer: layer.draw_bases(4, LATENT_DIM), jit_compile=jit_compile)
        drawn.append(np.stack([call() for _ in range(2)]))
    np.testing.assert_array_equal(*drawn)
    assert np.abs(drawn[0] - built(seed=7).draw_bases(4, LATENT_DIM).numpy()).max() > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bases": "online"}, r"bases must be one of \('random', 'fixed', 'running'\), received 'online'"),
        ({"evaluation_bases": None}, "evaluation_bases must be one of .*, received None"),
        ({"bases_momentum": 1.0}, r"bases_momentum must be in \[0, 1\), received 1.0"),
        ({"gradient": "full"}, r"gradient must be one of \('one_step', 'unrolled'\), received 'full'"),
        ({"evaluation_steps": -1}, "evaluation_steps must not be negative, received -1"),
        ({"seed": 0.5}, "seed must be an integer or None, received 0.5"),
        ({"ham": "cd", "ridge": 0.0}, "ridge must be positive, received 0.0"),
        ({"ham": "vq", "inverse_temperature": -1.0}, "inverse_temperature must be positive, received -1.0"),
        ({"ridge": 0.1}, "ridge is not a setting of ham 'nmf', which has rectify and normalize_bases"),
        ({"ham": "vq", "rectify": True}, "rectify is not a setting of ham 'vq', which has inverse_temperature"),
    ],
)
def test_invalid_arguments_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        Hamburger(LATENT_DIM, RANK, **settings)


def test_hamburger_passes_its_arguments_to_the_ham_and_its_config():
    settings = {
        "num_steps": 3,
        "evaluation_steps": 4,
        "num_sections": 2,
        "ham": "cd",
        "bases": "running",
        "evaluation_bases": "fixed",
        "bases_momentum": 0.2,
        "gradient": "unrolled",
        "inverse_temperature": 10.0,
        "ridge": 0.1,
        "seed": -3,
    }
    layer = Hamburger(LATENT_DIM, RANK, **settings)
    own = layer.ham.get_config()
    assert {name: own[name] for name in settings if name != "ham"} == {n: v for n, v in settings.items() if n != "ham"}
    assert Hamburger.from_config(layer.get_config()).get_config() == layer.get_config()
    nmf = Hamburger(LATENT_DIM, RANK, rectify=False, normalize_bases=True)
    assert not nmf.ham.rectify
    assert nmf.ham.normalize_bases
    assert Hamburger.from_config(nmf.get_config()).get_config() == nmf.get_config()


OWN_SETTINGS = {
    "nmf": {"rectify": False, "normalize_bases": True},
    "cd": {"inverse_temperature": 10.0, "ridge": 0.1},
    "vq": {"inverse_temperature": 10.0},
}


@every_ham
def test_the_config_of_a_ham_has_all_arguments(ham):
    common = {"evaluation_steps": 4, "bases": "running", "bases_momentum": 0.2, "gradient": "unrolled"}
    layer = built(ham, **common, **OWN_SETTINGS[ham])
    assert set(OWN_SETTINGS[ham]) == set(HAMS[ham].settings)
    config = layer.get_config()
    assert {name: config[name] for name in (*common, *OWN_SETTINGS[ham])} == {**common, **OWN_SETTINGS[ham]}
    copy = HAMS[ham].from_config(config)
    copy.build((None, None, LATENT_DIM))
    assert copy.get_config() == config
    np.testing.assert_array_equal(copy(inputs(), training=True), layer(inputs(), training=True))
    np.testing.assert_array_equal(copy(inputs()), layer(inputs()))


@pytest.mark.parametrize("cls", [Hamburger, NMF])
def test_configs_older_than_fixed_bases_mean_random_bases(cls):
    config = {"rank": RANK, "num_steps": 2, "seed": None, "name": "context"}
    if cls is Hamburger:
        config.update(latent_dim=LATENT_DIM, num_sections=1, ham="nmf", version="v1", batch_norm=None)
    layer = cls.from_config(config)
    assert layer.get_config()["evaluation_bases"] == "random"
    assert cls(**config).get_config()["evaluation_bases"] == "fixed"


def test_keras_files_older_than_fixed_bases_load_with_random_bases(tmp_path):
    model = functional_model(evaluation_bases="random")
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                for layer in config["config"]["layers"][1:]:
                    for argument in ("evaluation_steps", "bases", "evaluation_bases", "bases_momentum", "gradient"):
                        del layer["config"][argument]
                content = json.dumps(config)
            old.writestr(name, content)
    loaded = keras.models.load_model(tmp_path / "old.keras")
    for weight, expected in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
    fixed = fix_bases(loaded)
    np.testing.assert_array_equal(fixed.predict(images(), verbose=0), fixed.predict(images(), verbose=0))


def test_fix_bases_converts_a_trained_model(tmp_path):
    model = functional_model(evaluation_bases="random")
    model.compile("sgd", "mse")
    first, second = (model.predict(images(), verbose=0) for _ in range(2))
    assert np.abs(first - second).max() > 1e-4

    fixed = fix_bases(model, seed=5)
    result = fixed.predict(images(), verbose=0)
    np.testing.assert_array_equal(fixed.predict(images(), verbose=0), result)
    # Results with fixed bases are as close to those with random bases as the latter are to each other.
    assert np.abs(result - first).max() < 3 * np.abs(second - first).max()
    own = {"first/ham/fixed_bases", "second/ham/fixed_bases"}
    weights = {weight.path: weight.numpy() for weight in fixed.weights}
    assert weights.keys() - own == {weight.path for weight in model.weights}
    for weight in model.weights:
        np.testing.assert_array_equal(weights[weight.path], weight)
    assert np.abs(weights["first/ham/fixed_bases"] - weights["second/ham/fixed_bases"]).max() > 0.1
    # Deterministic models keep their results.
    np.testing.assert_array_equal(fix_bases(fixed, seed=6).predict(images(), verbose=0), result)
    assert np.abs(fix_bases(model, seed=6).predict(images(), verbose=0) - result).max() > 1e-4

    fixed.save(tmp_path / "fixed.keras")
    loaded = keras.models.load_model(tmp_path / "fixed.keras")
    np.testing.assert_array_equal(loaded.predict(images(), verbose=0), result)


@pytest.mark.parametrize("evaluation_bases", ["random", "running"])
def test_fix_bases_keeps_the_bases_of_training(evaluation_bases):
    model = functional_model(bases="fixed", evaluation_bases=evaluation_bases)
    fixed = fix_bases(model, seed=9)
    for name in ("first", "second"):
        own, original = fixed.get_layer(name).ham, model.get_layer(name).ham
        np.testing.assert_array_equal(own.fixed_bases, original.fixed_bases)
        assert own.evaluation_bases == {"random": "fixed", "running": "running"}[evaluation_bases]
    np.testing.assert_array_equal(fixed(images(), training=True), model(images(), training=True))


HAMBURGER = {"latent_dim": LATENT_DIM, "rank": RANK, "num_steps": 2}


CONTEXT = [{"module": "hamburger", "resolution": 16, **HAMBURGER}]


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_networks_have_random_bases_as_published_and_support_fix_bases(network):
    if network == "generator":
        model = Generator(resolution=32, num_classes=3, base_channels=2, z_dim=4, context=CONTEXT)
        given = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    else:
        model = Discriminator(resolution=32, num_classes=3, base_channels=2, context=CONTEXT)
        given = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    labels = np.array([2, 0])
    assert not model.context[0].ham.weights
    model.context[0].sigma.assign(1.0)
    assert np.abs(model(given, labels) - model(given, labels)).max() > 1e-5
    fixed = fix_bases(model)
    np.testing.assert_array_equal(fixed(given, labels), fixed(given, labels))
    assert len(fixed.weights) == len(model.weights) + 1
    assert fixed.context[0].ham.fixed_bases.path == f"{network}/hamburger/ham/fixed_bases"
    # Initial bases of the call still take precedence.
    bases = np.random.default_rng(1).uniform(size=(2, LATENT_DIM, RANK)).astype(np.float32)
    np.testing.assert_array_equal(fixed(given, labels, initial_bases=bases), model(given, labels, initial_bases=bases))


class Opaque(keras.Model):
    """A model whose config does not include its Hamburger."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.context = Hamburger(LATENT_DIM, RANK, evaluation_bases="random")

    def call(self, inputs, training=None):
        return self.context(inputs, training=training)


def test_models_that_fix_bases_cannot_convert_are_rejected():
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="dense_only")
    with pytest.raises(ValueError, match="dense_only has no Hamburger and no matrix decomposition"):
        fix_bases(dense)
    opaque = Opaque(name="opaque")
    opaque(images())
    with pytest.raises(ValueError, match=r"get_config.* of opaque does not describe .*ham"):
        fix_bases(opaque)


def test_networks_without_a_hamburger_reject_initial_bases():
    common = {"resolution": 32, "num_classes": 3, "base_channels": 2}
    bases = np.ones((2, LATENT_DIM, RANK), np.float32)
    for model, inputs in ((Generator(z_dim=4, **common), (2, 4)), (Discriminator(**common), (2, 32, 32, 3))):
        with pytest.raises(ValueError, match=r"has 0 context modules with bases .* received 1"):
            model(np.zeros(inputs, np.float32), np.array([2, 0]), initial_bases=bases)
