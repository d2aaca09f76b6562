import subprocess
import sys

import numpy as np
import pytest

from hamgan import random_streams
from hamgan.config import override, to_json
from hamgan.layers import fix_bases
from hamgan.layers.batch_normalization import batch_normalization_layers
from hamgan.networks.build import build_generator
from hamgan.random_streams import Purpose
from hamgan.sampling.batch_statistics import set_standing_statistics
from hamgan.sampling.grids import grid_classes, image_grid
from hamgan.sampling.sampler import Sampler

LABELS = np.array([3, 1, 4, 1, 5, 9, 2], np.int32)
STANDING = {"seed": 5, "batch": 6, "passes": 3}

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def generator(tiny):
    generator = build_generator(tiny.model)
    # A non-zero sigma, so that the Hamburger and the initial bases have an effect.
    generator.context[0].sigma.assign(1.0)
    return generator


def test_images_depend_on_seed_index_and_label_but_not_on_the_batch(generator):
    labels = np.arange(7, dtype=np.int32)
    in_threes = np.concatenate(list(Sampler(generator, seed=1, batch=3).batches(labels)))
    at_once = np.concatenate(list(Sampler(generator, seed=1, batch=7).batches(labels)))
    assert in_threes.shape == (7, 32, 32, 3)
    np.testing.assert_allclose(in_threes, at_once, atol=1e-5)
    other_seed = np.concatenate(list(Sampler(generator, seed=2, batch=7).batches(labels)))
    assert abs(other_seed - at_once).max(axis=(1, 2, 3)).min() > 1e-4
    other_label = np.concatenate(list(Sampler(generator, seed=1, batch=7).batches(labels[:1])))
    np.testing.assert_allclose(other_label[0], at_once[0], atol=1e-5)


@pytest.fixture
def own_generator(tiny, generator):
    """A generator that a test may modify, with moving averages unlike the statistics of its samples."""
    copy = build_generator(tiny.model)
    _copy_weights(generator, copy)
    return copy


def _copy_weights(generator, copy):
    for variable, own in zip(generator.weights, copy.weights, strict=True):
        assert variable.path == own.path
        own.assign(variable)


def _values(generator):
    return {variable.path: variable.numpy() for variable in generator.weights}


def _samples(generator, labels=LABELS, *, first=0, batch=7, **arguments):
    return np.concatenate(list(Sampler(generator, seed=1, batch=batch, **arguments).batches(labels, first=first)))


@pytest.mark.parametrize("labels", [[0, -1], [10, 3], [0.5, 1.0], [[1, 2], [3, 4]]])
def test_invalid_labels_are_rejected_before_sampling(generator, labels):
    with pytest.raises(ValueError, match="Sampler expects labels"):
        next(Sampler(generator, seed=1, batch=2).batches(np.array(labels)))


@pytest.mark.slow
def test_sampling_may_start_at_any_image(generator):
    at_once = _samples(generator)
    for first in (2, 5):
        later = _samples(generator, LABELS[first:], first=first, batch=3)
        np.testing.assert_allclose(later, at_once[first:], atol=1e-5)
    assert abs(_samples(generator, LABELS[2:]) - at_once[2:]).max() > 1e-3
    sampler = Sampler(generator, seed=1, batch=4)
    np.testing.assert_array_equal(sampler.random_labels(20, first=13), sampler.random_labels(33)[13:])


def test_truncated_samples_use_truncated_latent_vectors(generator):
    key = random_streams.fold(1, Purpose.SAMPLES)
    z, _, bases = generator.draw_inputs(key, first=2, count=5, truncation=0.3)
    assert 0.2 < abs(z.numpy()).max() <= 0.3
    plain_z, _, plain_bases = generator.draw_inputs(key, first=2, count=5)
    np.testing.assert_array_equal(np.sign(z), np.sign(plain_z))
    np.testing.assert_array_equal(bases[0], plain_bases[0])
    expected = generator(z, LABELS[2:], initial_bases=bases)
    samples = _samples(generator, LABELS[2:], first=2, truncation=0.3)
    np.testing.assert_allclose(samples, expected, atol=1e-5)
    assert abs(samples - _samples(generator, LABELS[2:], first=2)).max() > 1e-3


def test_fixed_bases_are_those_of_exported_models(generator):
    z, _, _ = generator.draw_inputs(random_streams.fold(1, Purpose.SAMPLES), first=0, count=7)
    expected = fix_bases(generator)(z, LABELS)
    samples = _samples(generator, bases="fixed", batch=3)
    np.testing.assert_allclose(samples, expected, atol=1e-5)
    assert abs(samples - _samples(generator)).max() > 1e-3


def test_random_labels_are_drawn_by_the_class_counts(own_generator):
    counts = [2, *[0] * (own_generator.num_classes - 2), 6]
    sampler = Sampler(own_generator, seed=1, batch=4, class_counts=counts)
    key = random_streams.fold(random_streams.fold(1, Purpose.SAMPLES), Purpose.LABELS)
    images = random_streams.draw_labels(key, first=0, count=40, num_classes=8).numpy()
    np.testing.assert_array_equal(sampler.random_labels(40), np.where(images < 2, 0, own_generator.num_classes - 1))
    np.testing.assert_array_equal(sampler.random_labels(5, first=30), sampler.random_labels(40)[30:35])


def test_standing_statistics_are_those_of_the_class_counts(own_generator):
    only_one = [0, 7, *[0] * (own_generator.num_classes - 2)]
    key = random_streams.fold(STANDING["seed"], Purpose.STANDING_STATISTICS)
    count = STANDING["batch"] * STANDING["passes"]
    inputs = own_generator.draw_inputs(key, count=count, labels=np.ones(count, np.int32))
    set_standing_statistics(own_generator, class_counts=only_one, **{**STANDING, "batch": count, "passes": 1})
    ours = own_generator(*inputs, training=False).numpy()
    np.testing.assert_allclose(ours, own_generator(*inputs, training=False, statistics="batch"), atol=1e-4)


def test_truncation_must_be_positive(generator):
    with pytest.raises(ValueError, match="truncation must be positive, received 0"):
        Sampler(generator, seed=1, batch=4, truncation=0)


def test_batch_statistics_give_the_samples_of_training_and_change_no_state(own_generator):
    before = _values(own_generator)
    moving = _samples(own_generator)
    samples = _samples(own_generator, batch=7, statistics="batch")
    assert all((value == before[path]).all() for path, value in _values(own_generator).items())
    assert abs(samples - moving).max() > 1e-2
    assert abs(_samples(own_generator, batch=3, statistics="batch") - samples).max() > 1e-3
    z, _, bases = own_generator.draw_inputs(random_streams.fold(1, Purpose.SAMPLES), first=0, count=7)
    expected = own_generator(z, LABELS, training=True, initial_bases=bases)
    np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize("truncation", [None, 0.5])
def test_standing_statistics_are_the_mean_over_batches(own_generator, truncation):
    before = _values(own_generator)
    set_standing_statistics(own_generator, truncation=truncation, **STANDING)
    after = _values(own_generator)
    statistics = [path for path in before if "moving" in path]
    layers = batch_normalization_layers(own_generator)
    assert len(statistics) == 2 * len(layers) == 2 * 8
    assert all((after[path] == before[path]).all() for path in before.keys() - set(statistics))

    key = random_streams.fold(5, Purpose.STANDING_STATISTICS)
    labels = random_streams.draw_labels(
        random_streams.fold(key, Purpose.LABELS), first=0, count=18, num_classes=own_generator.num_classes
    )
    inputs = [own_generator.draw_inputs(key, first=first, count=6, truncation=truncation) for first in (0, 6, 12)]

    # The first layer, computed explicitly.
    kernel, bias = (
        np.float64(value) for value in (own_generator.dense.normalized_kernel(False), after["generator/dense/bias"])
    )
    stems = [(np.float64(z) @ kernel + bias).reshape(-1, own_generator.stem_shape[-1]) for z, _, _ in inputs]
    first_norm = own_generator.blocks[0].norm1
    np.testing.assert_allclose(first_norm.moving_mean, np.mean([stem.mean(0) for stem in stems], 0), atol=1e-6)
    np.testing.assert_allclose(first_norm.moving_variance, np.mean([stem.var(0) for stem in stems], 0), rtol=1e-5)

    # All layers, by the moving averages after training calls with momentum 0.
    sums = dict.fromkeys(statistics, 0.0)
    for layer in layers:
        layer.momentum = 0.0
    for index, (z, _, bases) in enumerate(inputs):
        for variable in own_generator.weights:
            variable.assign(before[variable.path])
        own_generator(z, labels[6 * index : 6 * index + 6], training=True, initial_bases=bases)
        sums = {path: sums[path] + _values(own_generator)[path] for path in statistics}
    for path in statistics:
        np.testing.assert_allclose(after[path], sums[path] / 3, rtol=1e-4, atol=1e-6, err_msg=path)


@pytest.mark.slow
def test_images_with_standing_statistics_do_not_depend_on_the_batch(own_generator):
    moving = _samples(own_generator)
    set_standing_statistics(own_generator, **STANDING)
    at_once, in_threes = _samples(own_generator), _samples(own_generator, batch=3)
    np.testing.assert_allclose(in_threes, at_once, atol=1e-5)
    assert abs(at_once - moving).max() > 1e-2
    statistics = _values(own_generator)
    set_standing_statistics(own_generator, **STANDING)
    for path, value in _values(own_generator).items():
        np.testing.assert_allclose(value, statistics[path], rtol=1e-5, atol=1e-7, err_msg=path)


ON_TWO_REPLICAS = """
import sys

import numpy as np

from hamgan.config import experiment_from_json
from hamgan.distribution.strategies import create_strategy
from hamgan.networks.build import build_generator
from hamgan.sampling.batch_statistics import set_standing_statistics
from hamgan.sampling.sampler import Sampler

strategy = create_strategy("cpu", cpu_replicas=2)
config = experiment_from_json(open(sys.argv[1]).read(), "test").model
labels = np.array([3, 1, 4, 1, 5, 9], np.int32)
one = build_generator(config)
one.context[0].sigma.assign(1.0)
with strategy.scope():
    two = build_generator(config)
    for target, source in zip(two.weights, one.weights, strict=True):
        target.assign(source)
for statistics in ("batch", "moving"):
    if statistics == "moving":
        set_standing_statistics(one, seed=5, batch=6, passes=3)
        set_standing_statistics(two, seed=5, batch=6, passes=3, strategy=strategy)
    (samples,) = Sampler(one, seed=1, batch=6, statistics=statistics).batches(labels)
    (shared,) = Sampler(two, seed=1, batch=6, statistics=statistics, strategy=strategy).batches(labels)
    np.testing.assert_allclose(shared, samples, atol=1e-4)
for weight, variable in zip(one.weights, two.weights, strict=True):
    for replica in strategy.experimental_local_results(variable.value):
        np.testing.assert_allclose(replica, weight, rtol=1e-4, atol=1e-6, err_msg=variable.path)
try:
    set_standing_statistics(two, seed=5, batch=5, passes=3, strategy=strategy)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_replicas_share_the_statistics(tiny, tmp_path):
    """In a separate process, because TensorFlow supports one set of communicating devices per process."""
    config_path = tmp_path / "config.json"
    config_path.write_text(to_json(tiny))
    command = [sys.executable, "-c", ON_TWO_REPLICAS, str(config_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "batch must be a positive multiple of the 2 replicas, received 5" in result.stdout


def test_invalid_arguments_of_standing_statistics_change_nothing(own_generator):
    before = _values(own_generator)
    for arguments, message in (
        ({"passes": 0}, "passes must be positive, received 0"),
        ({"batch": 0}, "batch must be a positive multiple of the 1 replicas, received 0"),
        ({"truncation": -1.0}, "truncation must be positive, received -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            set_standing_statistics(own_generator, **{**STANDING, **arguments})
    assert all((value == before[path]).all() for path, value in _values(own_generator).items())


def test_random_labels_are_uniform_and_repeatable(generator):
    labels = Sampler(generator, seed=1, batch=4).random_labels(2000)
    np.testing.assert_array_equal(labels, Sampler(generator, seed=1, batch=9).random_labels(2000))
    assert np.bincount(labels, minlength=10).min() > 150


def test_grid_has_one_row_per_class_and_its_name(generator):
    names = [f"digit {label}" for label in range(10)]
    sampler = Sampler(generator, seed=0, batch=4)
    grid = sampler.grid([1, 5, 7], 2, class_names=names)
    images = np.concatenate(list(sampler.batches(np.repeat([1, 5, 7], 2))))
    np.testing.assert_array_equal(grid, image_grid(images, columns=2, row_names=["digit 1", "digit 5", "digit 7"]))
    assert grid.shape[0] == 96


def test_image_grid_places_images_row_by_row():
    images = np.stack([np.full((2, 3, 3), value, np.float32) for value in (-1, -0.5, 0, 0.5, 1, 2)])
    grid = image_grid(images, columns=3)
    assert grid.dtype == np.uint8
    assert grid.shape == (4, 9, 3)
    np.testing.assert_array_equal(grid[0, ::3, 0], [0, 64, 128])
    np.testing.assert_array_equal(grid[3, ::3, 0], [191, 255, 255])


def test_grids_of_gray_images_are_gray():
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 1)).astype(np.float32)
    grid = image_grid(images, columns=2, row_names=["cat", "dog"])
    assert grid.shape[2] == 1
    np.testing.assert_array_equal(
        grid.repeat(3, -1), image_grid(images.repeat(3, -1), columns=2, row_names=["cat", "dog"])
    )


def test_names_stand_in_a_margin_beside_their_rows():
    images = np.zeros((3, 32, 32, 3), np.uint8)
    margin = image_grid(images, columns=1, row_names=["cat", "", "cat"])[:, :-32]
    first, second, third = np.split(margin, 3)
    np.testing.assert_array_equal(first, third)
    assert first.min() < 64
    assert (second == 255).all()
    # The name keeps clear of the borders.
    assert (first[[0, -1]] == 255).all()
    assert (first[:, [0, -1]] == 255).all()


def test_long_names_are_shortened():
    def margin(name):
        return image_grid(np.zeros((1, 64, 64, 3), np.uint8), columns=1, row_names=[name])[:, :-64]

    np.testing.assert_array_equal(margin("a" * 100), margin("a" * 24 + "b"))
    assert not np.array_equal(margin("a" * 100)[:, -12:], margin("a" * 24)[:, -12:])


def test_grid_classes_are_evenly_spaced():
    assert grid_classes(10) == list(range(10))
    assert grid_classes(3) == [0, 1, 2]
    assert grid_classes(1000) == list(range(0, 1000, 100))


def test_stored_bases_are_those_of_the_generator(tiny):
    names = ("bases", "evaluation_bases")
    config = override(tiny, [f"model.generator.context.0.{name}=running" for name in names])
    generator = build_generator(config.model)
    generator.context[0].sigma.assign(1.0)
    images = _samples(generator)
    np.testing.assert_array_equal(_samples(generator, bases="fixed"), images)
    running = generator.context[0].ham.running_bases
    running.assign(running[:, ::-1])
    assert abs(_samples(generator) - images).max() > 1e-5
