"""A run of a segmentation network: loading, prediction, evaluation and its files."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
from page_blocks import CHECKOUT
from PIL import Image
from tiny_network import picture

import hamgan
from hamgan.cli.hamnet import main
from hamgan.errors import UserError
from hamgan.segmentation.evaluation.evaluate import evaluate_network
from hamgan.segmentation.prediction.inference import MULTI_SCALE_FLIP, InferenceSettings
from hamgan.segmentation.published.convert import convert
from hamgan.segmentation.published.weight_files import read_weights
from hamgan.segmentation.trained import SegmentationRun

GAN_RUN = str(CHECKOUT / "tests" / "runs" / "run_e872773")


@pytest.fixture(scope="module")
def run_path(tiny_segmentation_run, tmp_path_factory):
    return shutil.copytree(tiny_segmentation_run, tmp_path_factory.mktemp("runs") / "scenes")


@pytest.fixture(scope="module")
def run(run_path):
    return hamgan.load(str(run_path))


def test_a_run_is_opened_by_its_task(run, run_path):
    assert isinstance(run, SegmentationRun)
    assert (run.step, run.path) == (6, str(run_path))
    assert run.class_names == ["background", *map(str, range(10))]
    assert hamgan.load(str(run_path), checkpoint="2").step == 2
    image = np.full((40, 50, 3), 128, np.uint8)
    mask = run.predict(image)
    assert (mask.shape, mask.dtype) == ((40, 50), np.uint8)
    with pytest.raises(UserError, match="weights=ema: expected none for a segmentation network"):
        hamgan.load(str(run_path), weights="ema")


def test_a_run_is_scored_on_its_validation_split(run):
    evaluation = run.evaluate(num_images=5, batch=2)
    assert evaluation.num_images == 5
    assert evaluation.confusion.shape == (11, 11)
    from hamgan.segmentation.data.dataset import SegmentationDataset

    batches = SegmentationDataset(run.config.data).evaluation_batches("validation", last=5).as_numpy_iterator()
    pairs = [(images[0], masks[0]) for images, masks in batches]
    expected = evaluate_network(run.network, pairs, class_names=run.class_names)
    np.testing.assert_array_equal(evaluation.confusion, expected.confusion)
    with pytest.raises(UserError, match="num_images: expected a positive number, found 0"):
        run.evaluate(num_images=0)
    with pytest.raises(UserError, match="has no split 'tset'"):
        run.evaluate(split="tset")


def results_of(run_path):
    folder = run_path / "mask_scores"
    return {name: json.loads((folder / name).read_text()) for name in sorted(os.listdir(folder))}


def test_the_command_writes_results_and_a_page(run_path, capsys, caplog):
    arguments = ["evaluate", "--run", str(run_path), "--num_images", "4"]
    assert main([*arguments, "--num_steps", "1-2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Step", "K", "1", "2"]
    results = results_of(run_path)
    assert sorted(result["settings"]["num_steps"] for result in results.values()) == [1, 2]
    assert all(result["step"] == 6 and sum(map(sum, result["confusion"])) > 0 for result in results.values())
    page = (run_path / "evaluation.html").read_text()
    for text in ("Confusion matrix", "Worst images", "All results", "image 0", "single scale, K = 2"):
        assert text in page
    assert '<a href="evaluation.html">' in (run_path / "report.html").read_text()
    # What exists is not computed again.
    caplog.clear()
    assert main([*arguments, "--num_steps", "2"]) == 0
    assert "scored before" in caplog.text
    assert capsys.readouterr().out.splitlines()[1].split() == ["class", "IoU", "accuracy", "pixels"]
    assert results_of(run_path) == results


@pytest.mark.slow
def test_the_best_checkpoint_has_the_highest_score(run_path, capsys):
    assert main(["evaluate", "--run", str(run_path), "--num_images", "3", "--checkpoint", "all"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("Step")] == [
        *("Step 0", "Step 2", "Step 4", "Step 6"),
    ]
    assert "<svg" in (run_path / "evaluation.html").read_text().partition("All results")[2]  # mIoU over steps
    scores = {
        result["step"]: result["mean_iou"] for result in results_of(run_path).values() if result["num_images"] == 3
    }
    assert hamgan.load(str(run_path), checkpoint="best").step == max(scores, key=lambda step: (scores[step], -step))
    assert main(["predict", "--run", str(run_path), "--images", "nothing", "--out", "x", "--checkpoint", "5"]) == 2
    assert "has 0, 2, 4, 6" in capsys.readouterr().err


def test_the_command_predicts_pictures(run, run_path, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    image = picture(40, 56)
    Image.fromarray(image).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"no picture")
    arguments = [
        "predict",
        "--run",
        str(run_path),
        "--images",
        str(folder),
        "--out",
        str(out),
        "--write",
        "masks,pairs",
    ]
    arguments += ["--num_steps", "1", "--window", "33"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"1 prediction  {out}",
        "1 file is no picture and was skipped",
    ]
    expected = run.predict(image, InferenceSettings(num_steps=1, window=33))
    np.testing.assert_array_equal(np.asarray(Image.open(out / "masks" / "a.png")), expected)
    assert main([*arguments, "--strict"]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"1 prediction, 1 of them made before  {out}\n"
    assert "hamnet predict: failed: 1 file is no picture and was skipped, such as" in captured.err


def test_weights_of_a_run_can_be_converted(run, tmp_path):
    path = str(tmp_path / "weights.npz")
    conversion = convert(run.path, path)
    arrays = read_weights(path)
    assert set(conversion.taken) <= set(arrays)
    np.testing.assert_array_equal(arrays["fc.1.bias"], run.network.head.classifier.bias)


def test_settings_of_the_config_are_the_default(run):
    assert run.settings == InferenceSettings()
    assert run.settings.changed(multi_scale=True) == MULTI_SCALE_FLIP
    averaged = run.settings.changed(multi_scale=True, combination="probabilities")
    assert averaged == dataclasses.replace(MULTI_SCALE_FLIP, combination="probabilities")
    windows = InferenceSettings(window=64, window_step=64)
    assert windows.changed(window=32).step == 21
    assert windows.changed(num_steps=3) == InferenceSettings(window=64, window_step=64, num_steps=3)


def test_a_dry_run_scores_nothing(run_path, capsys):
    arguments = ["evaluate", "--run", str(run_path), "--num_steps", "1-2", "--short_side", "64", "--dry_run"]
    before = sorted(os.listdir(run_path))
    assert main([*arguments, "--checkpoint", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Step 0: 300 images of scenes, validation; single scale, short side 64, K = 1"
    assert lines[-1] == "Step 6: 300 images of scenes, validation; single scale, short side 64, K = 2"
    assert len(lines) == 8
    assert sorted(os.listdir(run_path)) == before
    assert main([*arguments, "--num_images", "1", "--accelerator", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("Step 6: 1 image of scenes")


def test_the_combination_of_scales_is_an_option(run_path, capsys):
    arguments = ["evaluate", "--run", str(run_path), "--combination", "probabilities", "--dry_run"]
    assert main([*arguments, "--multi_scale"]) == 0
    assert capsys.readouterr().out.endswith("scales 0.5, 0.75, 1, 1.25, 1.5, 1.75, with flips, probabilities\n")
    assert main(arguments) == 2
    assert "expected several scales, found one; pass --multi_scale" in capsys.readouterr().err


@pytest.fixture
def short_side_run(tiny_segmentation_run, tmp_path):
    path = shutil.copytree(tiny_segmentation_run, tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    config["evaluation"] |= {"short_side": 48, "combination": "probabilities"}
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_the_short_side_is_a_setting_of_the_config(short_side_run):
    settings = InferenceSettings(short_side=48, combination="probabilities")
    assert hamgan.load(str(short_side_run)).settings == settings


@pytest.mark.slow
def test_commands_scale_images_to_the_short_side_of_the_config(short_side_run, tmp_path, capsys):
    image, out = picture(40, 56), tmp_path / "out"
    Image.fromarray(image).save(tmp_path / "a.png")
    command = ["predict", "--run", str(short_side_run), "--images", str(tmp_path / "a.png"), "--out", str(out)]
    assert main(command) == 0
    mask = np.asarray(Image.open(out / "masks" / "a.png"))
    run = hamgan.load(str(short_side_run))
    np.testing.assert_array_equal(mask, run.predict(image))
    np.testing.assert_array_equal(mask, run.predict(image, InferenceSettings(short_side=48)))
    capsys.readouterr()
    assert main([*command, "--short_side", "56"]) == 2
    assert "expected settings short_side=56, found short_side=48" in capsys.readouterr().err
    assert main(["evaluate", "--run", str(short_side_run), "--num_images", "2"]) == 0
    assert "(2 images, single scale, short side 48)" in capsys.readouterr().out
    (result,) = results_of(short_side_run).values()
    assert result["settings"]["short_side"] == 48


def test_mistakes_are_one_line(run_path, tmp_path, capsys):
    cases = [
        (["evaluate", "--run", str(run_path), "--num_steps", "3-1"], "--num_steps expects numbers and ranges"),
        (["evaluate", "--run", str(run_path), "--window_step", "8"], "window_step: expected together with a window"),
        (["evaluate", "--run", str(run_path), "--accelerator", "tpu"], "--accelerator must be one of auto, cpu, gpu"),
        (["evaluate", "--run", str(run_path), "--split", "val", "--dry_run"], "has no split 'val'"),
        (["evaluate", "--run", str(run_path), "--split", "val"], "has no split 'val'"),
        (["evaluate", "--run", str(run_path), "--dataset", "digits"], "digits"),
        (["evaluate", "--run", str(tmp_path / "none")], "'hamnet train --run"),
        (
            ["evaluate", "--run", str(CHECKOUT / "tests" / "runs" / "run_e872773")],
            "is a run of a GAN, expected one of a segmentation network",
        ),
        (["predict", "--run", str(tmp_path / "none"), "--images", "x", "--out", "y"], "'hamnet train --run"),
        (["export", "--run", str(run_path), "--out", str(tmp_path / "x"), "--size", "big"], "--size expects height"),
    ]
    for arguments, message in cases:
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert message in error
        assert error.strip().count("\n") == 0
