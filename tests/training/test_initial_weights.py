import json
import logging
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.cli.main import main
from hamgan.config import override
from hamgan.errors import UserError
from hamgan.networks.build import build_discriminator, build_generator
from hamgan.published.convert import convert_official
from hamgan.runs.checkpoints import checkpoint_path, checkpoint_sha256, network_variables, write_checkpoint
from hamgan.runs.directory import RunDirectory
from hamgan.runs.lock import RunLock
from hamgan.runs.report import write_report
from hamgan.training.gan import GANTask
from hamgan.training.start import begin, resolved, resume
from hamgan.training.state import TrainState

OFFICIAL = pathlib.Path(__file__).parents[1] / "golden" / "v1_nmf" / "official" / "model.ckpt-1234"
STEP = 5
NETWORKS = ("generator", "discriminator", "ema_generator")

pytestmark = pytest.mark.usefixtures("eager")


def _write_source(config, path, variables, class_names):
    """A run with a checkpoint of random numbers, which no initializer draws."""
    run = RunDirectory(str(path))
    run.create(config)
    run.write_class_names(class_names)
    rng = np.random.default_rng(1)
    for variable in variables.values():
        variable.assign(tf.cast(rng.normal(size=variable.shape), variable.dtype))
    variables.get("step", tf.Variable(0)).assign(STEP)
    write_checkpoint(checkpoint_path(run.checkpoints, STEP), variables)
    return run


@pytest.fixture(scope="module")
def source(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "source"
    return _write_source(tiny, path, TrainState(tiny).variables(), [str(digit) for digit in range(10)])


@pytest.fixture(scope="module")
def few_dir(tmp_path_factory):
    """A data set with the classes 7, cat and 3."""

    class FewDigits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Black images of three classes."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(32, 32, 3))
            features = {"image": image, "label": tfds.features.ClassLabel(names=["7", "cat", "3"])}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _dl_manager):
            return {"train": self._generate_examples(), "validation": self._generate_examples()}

        def _generate_examples(self):
            for label in range(3):
                yield label, {"image": np.zeros((32, 32, 3), np.uint8), "label": label}

    path = str(tmp_path_factory.mktemp("data"))
    FewDigits(data_dir=path).download_and_prepare(file_format="tfrecord")
    return path


def _start(config, source, path, *overrides, strategy=None):
    """What ``train`` does before the first step."""
    strategy = strategy or tf.distribute.get_strategy()
    init_from = source.path if isinstance(source, RunDirectory) else source
    config = override(config, [f"train.init_from={init_from}", *overrides])
    run = RunDirectory(str(path))
    with RunLock(run) as lock:
        task = GANTask(config)
        dataset, state = begin(task, run, strategy, lock)
        resume(task, run, strategy, dataset, state)
    return run, {name: variable.numpy() for name, variable in state.variables().items()}


def _values(run, step=STEP):
    """Values of a checkpoint, read without our code."""
    reader = tf.train.load_checkpoint(f"{run.checkpoints}/ckpt-{step}")
    end = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {
        key.removesuffix(end).replace(".S", "/"): reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.endswith(end)
    }


def _assert_equal(values, expected, names):
    assert names
    for name in names:
        np.testing.assert_array_equal(values[name], expected[name], err_msg=name)


def _of_networks(names):
    return [name for name in names if name.startswith(tuple(f"{network}/" for network in NETWORKS))]


def _is_class_table(name):
    """Whether a weight has a row for each class: all gammas and betas but those of the generator's last layer."""
    return name.endswith(("/gamma", "/beta", "/embeddings")) and "/norm/" not in name


def test_a_run_starts_from_the_networks_and_the_average_but_not_from_the_optimizers(tiny, source, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="hamgan"):
        run, values = _start(tiny, source, tmp_path / "run", "train.seed=3")
    expected = _values(source)
    networks = _of_networks(values)
    assert len(networks) == len(_of_networks(expected))
    _assert_equal(values, expected, networks)
    assert values["step"] == 0
    slots = [name for name in values if "_optimizer/" in name]
    assert slots
    assert not any(np.any(values[name]) for name in slots)

    record = run.read_initialization()
    path = checkpoint_path(source.checkpoints, STEP)
    assert (record.checkpoint, record.step, record.checkpoint_sha256) == (path, STEP, checkpoint_sha256(path))
    assert record.taken_classes == tuple("0123456789")
    assert sorted(name for network in record.networks for name in network.taken) == sorted(networks)
    for network in record.networks:
        count = sum(value.size for name, value in values.items() if name.startswith(f"{network.network}/"))
        assert (network.taken_parameters, network.parameters, network.adapted, network.fresh) == (count, count, (), ())
    assert f"Initial weights from {path} (step 5):" in caplog.text
    assert "ema_generator from ema_generator: 70 of 70 weights, " in caplog.text
    assert run.read_config().train.init_from == source.path


def test_classes_are_taken_by_name_and_others_start_from_another_class(tiny, source, few_dir, tmp_path):
    few = ("data.dataset=few_digits", f"data.data_dir={few_dir}", "model.num_classes=3")
    run, values = _start(tiny, source, tmp_path / "run", *few)
    expected = _values(source)
    tables = [name for name in _of_networks(values) if _is_class_table(name)]
    assert len(tables) == 14 + 1 + 14
    for name in tables:
        np.testing.assert_array_equal(values[name], expected[name][[7, 0, 3]], err_msg=name)
    _assert_equal(values, expected, sorted(set(_of_networks(values)) - set(tables)))

    record = run.read_initialization()
    assert (record.taken_classes, record.substituted_classes) == (("7", "3"), (("cat", "0"),))
    assert record.describe_classes().endswith("these start from other classes of the source: cat (from 0)")
    assert sorted(name for network in record.networks for name in network.adapted) == sorted(tables)
    for network in record.networks:
        own = [name for name in tables if name.startswith(f"{network.network}/")]
        assert network.parameters - network.taken_parameters == sum(values[name][1].size for name in own)


def test_without_an_average_the_generator_is_the_source_s_generator(tiny, source, tmp_path):
    _, values = _start(tiny, source, tmp_path / "run", "train.ema_decay=0")
    assert not [name for name in values if name.startswith("ema_")]
    _assert_equal(values, _values(source), _of_networks(values))


def test_two_replicas_start_from_the_same_weights(tiny, source, tmp_path, two_replicas):
    _, values = _start(tiny, source, tmp_path / "run", strategy=two_replicas)
    _assert_equal(values, _values(source), _of_networks(values))


def test_modules_of_another_shape_keep_their_random_weights(tiny, source, tmp_path):
    other = ("model.generator.z_dim=5", "model.discriminator.context.0.latent_dim=3", "train.seed=3")
    run, values = _start(tiny, source, tmp_path / "run", *other)
    random = {name: value.numpy() for name, value in TrainState(override(tiny, other)).variables().items()}
    # The sigma of that Hamburger would fit, but not the layers that it scales.
    fresh = ("generator/dense/", "ema_generator/dense/", "discriminator/hamburger/")
    kept = [name for name in values if name.startswith(fresh)]
    assert "discriminator/hamburger/sigma" in kept
    _assert_equal(values, random, kept)
    _assert_equal(values, _values(source), sorted(set(_of_networks(values)) - set(kept)))
    record = run.read_initialization()
    assert sorted(name for network in record.networks for name in network.fresh) == sorted(kept)
    assert [network.fresh_modules for network in record.networks] == [["dense"], ["hamburger"], ["dense"]]


def _networks(config):
    return [build_generator(config.model), build_discriminator(config.model)]


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        # Blocks count from the image in the discriminator, and from 4x4 in the generator.
        (32, 64, {"generator": {"norm", "to_rgb"}, "discriminator": {"block1", "block2", "block3"}}),
        # Block 6 of the discriminator does not pool at 128x128, and pools at 256x256, with equal kernels.
        (
            128,
            256,
            {
                "generator": {"dense", "block1", "norm", "to_rgb"},
                "discriminator": {"block1", "block2", "block3", "block4", "block5", "dense", "embedding"},
            },
        ),
    ],
)
def test_at_another_resolution_blocks_of_the_same_shape_are_taken(before, after, taken, tiny, tmp_path):
    config = override(
        tiny,
        [
            *("model.generator.base_channels=1", "model.discriminator.base_channels=1", "train.ema_decay=0"),
            *("model.generator.context=none", "model.discriminator.context=none", f"model.resolution={before}"),
        ],
    )
    variables = {name: value for network in _networks(config) for name, value in network_variables(network).items()}
    source = _write_source(config, tmp_path / "source", variables, [str(digit) for digit in range(10)])
    run, _ = _start(config, source, tmp_path / "run", f"model.resolution={after}")
    for network in run.read_initialization().networks:
        assert {name.split("/")[1] for name in network.taken} == taken[network.network]


def test_a_converted_run_is_a_source(tiny, tmp_path):
    settings = [f"model.{network}.context.0.rank=4" for network in ("generator", "discriminator")]
    config = convert_official(str(OFFICIAL), str(tmp_path / "source"), overrides=settings).config
    source = RunDirectory(str(tmp_path / "source"))
    data = (f"data.data_dir={tiny.data.data_dir}", "data.dataset=digits", "train.global_batch=4")
    run, values = _start(config, source, tmp_path / "run", *data, "train.ema_decay=0.9")
    expected = _values(source, 1234)
    expected |= {f"ema_{name}": value for name, value in expected.items() if name.startswith("generator/")}
    names = _of_networks(values)
    _assert_equal(values, expected, [name for name in names if not _is_class_table(name)])
    for name in filter(_is_class_table, names):
        count = len(expected[name])
        np.testing.assert_array_equal(values[name], expected[name][np.arange(len(values[name])) % count], err_msg=name)
    assert [network.source for network in run.read_initialization().networks] == [
        *("generator", "discriminator", "generator")
    ]


def test_an_interrupted_start_is_repeated_and_a_resumed_run_keeps_its_weights(tiny, source, tmp_path):
    moved = RunDirectory(shutil.copytree(source.path, str(tmp_path / "source")))
    run, values = _start(tiny, moved, tmp_path / "run")
    os.remove(run.initialization_path)
    _, again = _start(tiny, moved, tmp_path / "run")
    _assert_equal(again, values, list(values))
    record = run.read_initialization()
    assert record is not None

    state = TrainState(tiny)
    state.step.assign(2)
    write_checkpoint(checkpoint_path(run.checkpoints, 2), state.variables())
    shutil.rmtree(moved.path)
    _, resumed = _start(tiny, moved, tmp_path / "run")
    _assert_equal(resumed, {name: value.numpy() for name, value in state.variables().items()}, list(resumed))
    assert run.read_initialization() == record
    with pytest.raises(UserError, match=r"started with other settings: train.init_from is .*source there, other now"):
        _start(tiny, "other", tmp_path / "run")


def test_a_checkpoint_is_a_source(tiny, source, tmp_path):
    moved = RunDirectory(shutil.copytree(source.path, str(tmp_path / "source[1]")))
    path = checkpoint_path(moved.checkpoints, STEP)
    # A newer one, which cannot be read.
    pathlib.Path(checkpoint_path(moved.checkpoints, 9) + ".index").write_text("")
    for number, name in enumerate((path, f"{path}.index")):
        run, values = _start(tiny, name, tmp_path / f"run{number}")
        _assert_equal(values, _values(source), _of_networks(values))
        assert run.read_initialization().checkpoint == path
    with pytest.raises(UserError, match=r"ckpt-9 is damaged .*choose another checkpoint"):
        _start(tiny, moved, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_errors_name_a_source_that_does_not_exist(tiny, source, tmp_path):
    expected = r"train.init_from \S+: expected a run folder, or a checkpoint of a run such as RUN/checkpoints/ckpt-1000"
    for path in (tmp_path, tmp_path / "ckpt-7", checkpoint_path(source.checkpoints, 4), source.config_path):
        with pytest.raises(UserError, match=expected):
            _start(tiny, str(path), tmp_path / "run")
    empty = RunDirectory(str(tmp_path / "empty"))
    empty.create(tiny)
    with pytest.raises(UserError, match="the run has no checkpoint to start from"):
        _start(tiny, empty, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_errors_name_a_source_that_does_not_fit(tiny, source, tmp_path):
    wide = "model.discriminator.base_channels=3"
    reason = r"nothing of the discriminator fits .*block1/conv1/bias: expected shape \(3,\), found \(2,\)"
    with pytest.raises(UserError, match=reason):
        _start(tiny, source, tmp_path / "run", wide)
    half = RunDirectory(str(tmp_path / "half"))
    half.create(tiny)
    write_checkpoint(checkpoint_path(half.checkpoints, 3), network_variables(build_generator(tiny.model)))
    with pytest.raises(UserError, match="ckpt-3 has no weights of the discriminator"):
        _start(tiny, half, tmp_path / "run")
    names = RunDirectory(shutil.copytree(source.path, str(tmp_path / "source")))
    names.write_class_names(["a", "b"])
    with pytest.raises(UserError, match=r"class_names.json is damaged \(expected 10 names, found 2\)"):
        _start(tiny, names, tmp_path / "run")
    with pytest.raises(UserError, match="the config names no initial weights; pass --init_from PATH"):
        _start(tiny, "", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_config_has_an_absolute_path(tiny):
    assert resolved(override(tiny, ["train.init_from=runs/a"])).train.init_from == os.path.abspath("runs/a")
    assert resolved(override(tiny, ["train.init_from=gs://b/a"])).train.init_from == "gs://b/a"
    assert resolved(tiny).train.init_from is None


def test_the_report_shows_the_initial_weights(tiny, source, tmp_path):
    run, _ = _start(tiny, source, tmp_path / "run", "model.generator.z_dim=5")
    write_report(run)
    page = pathlib.Path(run.report_path).read_text()
    assert f"<p>From {checkpoint_path(source.checkpoints, STEP)} (step 5). 10 of 10 classes" in page
    assert "<td>ema_generator</td><td>ema_generator</td><td>67 of 70</td><td>0</td>" in page
    write_report(source)
    assert "Initial weights" not in pathlib.Path(source.report_path).read_text()


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"networks": [3]}', '{"networks": [], "other": 1}'])
def test_errors_name_a_damaged_record(content, tmp_path):
    run = RunDirectory(str(tmp_path))
    pathlib.Path(run.initialization_path).write_text(content)
    with pytest.raises(UserError, match=r"initialization.json is damaged \(expected a record of initial weights\)"):
        run.read_initialization()


@pytest.mark.slow
def test_the_command_trains_from_another_run(tiny_run, digits_dir, tmp_path):
    path = tmp_path / "run"
    config = RunDirectory(tiny_run).read_config()
    changed = [f"model.{name}.base_channels=2" for name in ("generator", "discriminator")]
    changed += ["model.generator.z_dim=6", "train.steps=2", "train.checkpoint_every=1", "train.image_every=0"]
    for network in ("generator", "discriminator"):
        for field in ("latent_dim", "rank", "num_steps"):
            value = getattr(getattr(config.model, network).context[0], field)
            changed.append(f"model.{network}.context.0.{field}={value}")
    arguments = ["--run", str(path), "--preset", "digits", "--data_dir", digits_dir, "--init_from", tiny_run]
    assert main(["train", *arguments, "--override", "train.global_batch=4", *changed]) == 0
    run = RunDirectory(str(path))
    first, last = _values(run, 0), _values(run, 2)
    _assert_equal(first, _values(RunDirectory(tiny_run), 6), _of_networks(first))
    assert (first["generator/block1/conv1/kernel"] != last["generator/block1/conv1/kernel"]).any()
    assert json.loads(pathlib.Path(run.initialization_path).read_text())["step"] == 6
