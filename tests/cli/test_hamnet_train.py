import json
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
    monkeypatch.setattr("hamgan.segmentation.train.train", lambda config, *_: trained.append(config))
    run = shutil.copytree(tiny_segmentation_run, tmp_path / "run")
    assert main(["train", "--run", str(run)]) == 0
    config = json.loads((run / "config.json").read_text())
    assert [to_json(each) for each in trained] == [to_json(experiment_from_json(json.dumps(config), "run"))]
    assert capsys.readouterr().out == f"Run     {run}\nReport  {run / 'report.html'}\n"


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
