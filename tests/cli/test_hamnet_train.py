import json
import os
import shutil

import pytest

from hamgan.cli.hamnet import main
from hamgan.cli.main import main as hamgan
from hamgan.config import experiment_from_json, override, to_json
from hamgan.config.segmentation_presets import get_segmentation_preset, scenes


def test_a_dry_run_prints_the_settings(tmp_path, capsys):
    options = ["--run", str(tmp_path / "run"), "--preset", "scenes", "--dataset", "streets", "--init_from", "runs/a"]
    assert main(["train", *options, "--on_collapse", "rollback", "--dry_run", "--override", "train.steps=7"]) == 0
    expected = ["data.dataset=streets", "train.init_from=runs/a", "train.on_collapse=rollback", "train.steps=7"]
    assert experiment_from_json(capsys.readouterr().out, "stdout") == override(scenes(), expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "scene"], "unknown preset 'scene'; did you mean 'scenes'?"),
        (["--preset", "digits"], "unknown preset 'digits'; expected one of voc_trainaug, voc_trainval"),
        (["--preset", "scenes", "--override", "train.optimiser=sgd"], "did you mean 'optimizer'"),
        ([], "a new run needs --preset, such as --preset scenes"),
        (["--preset", "own_masks"], "the config names no data set; pass --dataset NAME"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message, capsys):
    assert main(["train", "--run", str(tmp_path / "run"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("hamnet train: error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_existing_run_names_its_settings(tiny_segmentation_run, tmp_path, capsys, monkeypatch):
    trained = []
    monkeypatch.setattr("hamgan.segmentation.training.train.train", lambda config, *_: trained.append(config))
    run = shutil.copytree(tiny_segmentation_run, tmp_path / "run")
    assert main(["train", "--run", str(run)]) == 0
    config = json.loads((run / "config.json").read_text())
    assert [to_json(each) for each in trained] == [to_json(experiment_from_json(json.dumps(config), "run"))]
    assert capsys.readouterr().out == f"Run     {run}\nReport  {run / 'report.html'}\n"


def test_published_recipes_start_from_weights_that_must_be_named(tiny_segmentation_run, tmp_path, capsys, monkeypatch):
    presets = {"published": lambda: override(scenes(), ["train.init_from="])}
    monkeypatch.setattr("hamgan.config.segmentation_presets.SEGMENTATION_PRESETS", presets)
    run, data_dir = str(tmp_path / "run"), _config(tiny_segmentation_run)["data"]["data_dir"]
    assert main(["train", "--run", run, "--preset", "published", "--data_dir", data_dir]) == 2
    assert "the config names no initial weights; pass --init_from PATH, or --override" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    # A run that has begun knows its weights.
    trained = []
    monkeypatch.setattr("hamgan.segmentation.training.train.train", lambda config, *_: trained.append(config))
    shutil.copytree(tiny_segmentation_run, run)
    for init_from in ("runs/other", None):
        config = _config(run)
        config["train"]["init_from"] = init_from
        (tmp_path / "run" / "config.json").write_text(json.dumps(config))
        assert main(["train", "--run", run, "--preset", "published"]) == 0
        assert trained.pop().train.init_from == (init_from and os.path.abspath(init_from))


def _config(run):
    with open(os.path.join(run, "config.json")) as file:
        return json.load(file)


def test_a_run_of_the_other_command_is_a_one_line_error(tiny_segmentation_run, tiny_run, capsys):
    assert hamgan(["train", "--run", tiny_segmentation_run]) == 2
    assert "is a run of a segmentation network, expected one of a GAN; use 'hamnet'" in capsys.readouterr().err
    assert main(["train", "--run", tiny_run]) == 2
    assert "is a run of a GAN, expected one of a segmentation network; use 'hamgan'" in capsys.readouterr().err


def test_every_preset_is_named_by_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in ("voc_trainaug", "voc_trainval", "segnext_tiny", "scenes", "own_masks"):
        assert name in text
        assert get_segmentation_preset(name).task == "segmentation"
