import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.errors import UserError
from hamgan.runs.checkpoints import (
    checkpoint_path,
    checkpoint_steps,
    delete_checkpoint,
    read_variables,
    variable_shapes,
)
from hamgan.runs.directory import RunDirectory
from hamgan.runs.lock import RunLock
from hamgan.segmentation.data.augmentation import normalise
from hamgan.segmentation.data.dataset import SegmentationDataset
from hamgan.segmentation.data.scenes import CLASS_NAMES
from hamgan.segmentation.networks.build import build_network
from hamgan.segmentation.prediction.inference import SINGLE_SCALE
from hamgan.segmentation.prediction.multi_scale import single_scale_logits
from hamgan.segmentation.published.weights import official_weights
from hamgan.segmentation.training.pictures import TrainPictures
from hamgan.segmentation.training.train import SegmentationTask, train
from hamgan.training.collapse import TrainingDivergedError
from hamgan.training.gan import train as train_gan
from hamgan.training.start import begin

METRICS = {"loss", "pixel_accuracy", "gradient_norm", "learning_rate"}

pytestmark = pytest.mark.usefixtures("eager")


def _train(config, path, *overrides, strategy=None):
    run = RunDirectory(str(path))
    train(override(config, overrides), run, strategy or tf.distribute.get_strategy())
    return run


def _values(run, step=6):
    path = checkpoint_path(run.checkpoints, step)
    return read_variables(path, list(variable_shapes(path)))


def _assert_same_weights(one, other, step=6, **tolerance):
    ones, others = _values(one, step), _values(other, step)
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        np.testing.assert_allclose(value, others[name], err_msg=name, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.fixture(scope="module")
def config(tiny_scenes):
    return tiny_scenes


@pytest.fixture
def whole_run(tiny_segmentation_run):
    return RunDirectory(tiny_segmentation_run)


def test_a_run_leaves_config_log_checkpoints_pictures_and_a_report(config, whole_run):
    assert whole_run.read_segmentation_config() == config
    assert whole_run.read_class_names(11) == list(CLASS_NAMES)
    rows = whole_run.read_metrics()
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(row.keys() > METRICS and np.isfinite(list(row.values())).all() for row in rows)
    # The mean of steps 5 and 6 of 6, after two steps of warm-up.
    assert rows[-1]["learning_rate"] == pytest.approx(config.train.learning_rate * (0.25**0.9 + 0) / 2, rel=1e-5)
    assert 0 <= rows[-1]["pixel_accuracy"] <= 1
    assert checkpoint_steps(whole_run.checkpoints) == [0, 2, 4, 6]
    assert list(whole_run.sample_grids()) == [0, 6]
    with open(whole_run.samples_path(6), "rb") as file:
        picture = tf.io.decode_png(file.read())
    assert picture.shape[1:] == (3 * 192, 3)
    page = pathlib.Path(whole_run.report_path).read_text()
    assert "Loss per pixel" in page
    assert "Predictions" in page
    assert "hamgan explore" not in page


def test_pictures_show_predictions_of_padded_images(config):
    """As the evaluation pads them: with aligned corners, the network would move the classes of 128 x 128 pixels."""
    network, dataset = build_network(config), SegmentationDataset(config.data)
    (images, _), *_ = dataset.evaluation_batches("validation", last=1).as_numpy_iterator()
    expected = single_scale_logits(lambda pixels: network(pixels, training=False), normalise(images))
    prediction = TrainPictures(network, dataset, SINGLE_SCALE).predictions()[0]
    assert len(np.unique(prediction)) > 1
    np.testing.assert_array_equal(prediction, expected.numpy()[0].argmax(-1))


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(config, whole_run, tmp_path):
    shutil.copytree(whole_run.path, tmp_path / "run")
    run = RunDirectory(str(tmp_path / "run"))
    for step in (4, 6):
        delete_checkpoint(checkpoint_path(run.checkpoints, step))
    _train(config, run.path)
    _assert_same_weights(whole_run, run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.head.rank=3"], "started with other settings: model.head.rank is 2 there, 3 now"),
        (["augmentation.ratios=1"], "augmentation.ratios"),
        (["train.steps=8"], "train.steps is 6 there, 8 now"),  # The schedule depends on it.
    ],
)
def test_a_run_is_not_resumed_with_other_settings(config, whole_run, overrides, message):
    with pytest.raises(UserError, match=message):
        _train(config, whole_run.path, *overrides)


def test_runs_of_the_two_kinds_are_not_mixed_up(config, whole_run, tiny_run, tiny, tmp_path):
    with pytest.raises(UserError, match="is a run of a segmentation network, expected one of a GAN; use 'hamnet'"):
        whole_run.read_config()
    with pytest.raises(UserError, match="is a run of a GAN, expected one of a segmentation network; use 'hamgan'"):
        _train(config, tmp_path / "run", f"train.init_from={tiny_run}")
    with pytest.raises(UserError, match="is a run of another kind of network; choose another --run"):
        train_gan(tiny, whole_run, tf.distribute.get_strategy())
    assert not (tmp_path / "run").exists()


def test_the_number_of_classes_must_be_that_of_the_data_set(config, tmp_path):
    with pytest.raises(
        UserError, match=r"has 11 classes, model.num_classes is 12; pass --override model.num_classes=11"
    ):
        _train(config, tmp_path / "run", "model.num_classes=12")
    assert not (tmp_path / "run").exists()


def _begin(config, path, *overrides):
    """What ``train`` does before the first step."""
    run = RunDirectory(str(path))
    with RunLock(run) as lock:
        task = SegmentationTask(override(config, overrides))
        _, state = begin(task, run, tf.distribute.get_strategy(), lock)
    return run, {name: variable.numpy() for name, variable in state.variables().items()}


def test_a_second_stage_takes_the_weights_alone(config, whole_run, tmp_path):
    stage_two = ("data.train_split=validation", "train.learning_rate=1e-4", f"train.init_from={whole_run.path}")
    run, values = _begin(config, tmp_path / "run", *stage_two)
    source = _values(whole_run)
    for name, value in values.items():
        if name.startswith("network/"):
            np.testing.assert_array_equal(value, source[name], err_msg=name)
        else:
            assert not value.any(), name
    assert any(name.startswith("optimizer/") and source[name].any() for name in values)
    record = run.read_initialization()
    assert (record.step, record.networks[0].fresh) == (6, ())
    assert record.lines()[0] == f"Initial weights from {checkpoint_path(whole_run.checkpoints, 6)} (step 6):"


def test_other_classes_keep_a_random_classifier(config, whole_run, tmp_path):
    state_of = override(config, ["model.num_classes=3"])
    from hamgan.segmentation.training.initial_network import Source, initialize

    network = build_network(state_of)
    record = initialize(network, Source(checkpoint_path(whole_run.checkpoints, 6), 6))
    assert {name.split("/")[-2] for name in record.networks[0].fresh} == {"classifier"}
    with pytest.raises(UserError, match=r"expected network/\S+ of shape .*, found .*; use the same model settings"):
        initialize(
            build_network(override(config, ["model.backbone.base_channels=3"])),
            Source(checkpoint_path(whole_run.checkpoints, 6), 6),
        )


def test_a_published_backbone_can_be_the_start(config, tmp_path):
    donor = build_network(override(config, ["train.seed=5"]))
    arrays = official_weights(donor.backbone)
    np.savez(tmp_path / "backbone.npz", **arrays)
    run, values = _begin(config, tmp_path / "run", f"train.init_from={tmp_path / 'backbone.npz'}")
    for variable in donor.backbone.weights:
        np.testing.assert_array_equal(values[f"network/{variable.path}"], variable.numpy(), err_msg=variable.path)
    assert run.read_initialization().lines()[0].endswith("backbone.npz:")
    del arrays["conv1.0.weight"]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(UserError, match=r"found 1 missing \(conv1.0.weight\)"):
        _begin(config, tmp_path / "other", f"train.init_from={tmp_path / 'other.npz'}")
    with pytest.raises(UserError, match="there is no such file"):
        _begin(config, tmp_path / "other", f"train.init_from={tmp_path / 'none.npz'}")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_collapse_stops_training_before_it_is_saved(config, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"is (nan|inf) at step \d .*--on_collapse rollback") as error:
        _train(config, tmp_path / "run", "train.learning_rate=1e30", "train.warmup_steps=0", "train.optimizer=sgd")
    assert "singular" not in str(error.value)
    run = RunDirectory(str(tmp_path / "run"))
    (collapse,) = run.read_collapses()
    assert (collapse["action"], collapse["singular_values"]) == ("stop", {})
    assert checkpoint_steps(run.checkpoints) == [0]


@pytest.mark.slow
def test_replicas_make_no_difference(config, tmp_path, two_replicas):
    settings = ("train.precision=float64", "train.image_every=0", "train.steps=3")
    one = _train(config, tmp_path / "one", *settings)
    two = _train(config, tmp_path / "two", *settings, strategy=two_replicas)
    _assert_same_weights(one, two, step=3, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (
            *("model.backbone.kind=mscan", "model.backbone.widths=4,8,12,16", "model.backbone.depths=1,1,1,1"),
            *("model.head.kind=light_ham", "model.head.channels=32", "model.head.rank=2", "train.head_factor=10"),
            *("augmentation.color=true", "augmentation.any_ratio=true", "augmentation.short_side=64"),
        ),
        ("model.head.ham=cd", "model.head.bases=running", "model.head.evaluation_bases=running", "train.optimizer=sgd"),
    ],
)
def test_other_networks_train_and_resume(config, tmp_path, overrides):
    settings = (*overrides, "train.image_every=0", "train.steps=4")
    whole = _train(config, tmp_path / "whole", *settings)
    shutil.copytree(whole.path, tmp_path / "parts")
    run = RunDirectory(str(tmp_path / "parts"))
    delete_checkpoint(checkpoint_path(run.checkpoints, 4))
    _assert_same_weights(whole, _train(config, run.path, *settings), step=4)
    start, end = _values(whole, 0), _values(whole, 4)
    assert all((start[name] != end[name]).any() for name in start if name.endswith(("/kernel", "/running_bases")))


@pytest.mark.slow
def test_half_precision_and_no_context_train(config, tmp_path):
    run = _train(config, tmp_path / "run", "train.precision=mixed_bfloat16", "model.head.version=none", "train.steps=2")
    assert np.isfinite(run.read_metrics()[-1]["loss"])
    assert run.read_segmentation_config().model.head.version is None
