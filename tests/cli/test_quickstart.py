import json
import os
import shlex

import pytest

from hamgan.cli.main import main

TINY = ["model.generator.base_channels=2", "model.discriminator.base_channels=2", "train.global_batch=4"]
SHORT = ["train.steps=2", "train.checkpoint_every=1", "evaluation.num_samples=20", "evaluation.neighbors_samples=0"]


@pytest.mark.slow
def test_it_prepares_trains_samples_and_scores_in_one_process(tmp_path, capsys, caplog):
    out = str(tmp_path / "a folder")
    assert main(["quickstart", "--out", out, "--override", *TINY, *SHORT]) == 0
    printed = capsys.readouterr().out
    commands = [shlex.split(line[2:])[1] for line in printed.splitlines() if line.startswith("$ hamgan ")]
    assert commands == ["prepare", "train", "sample", "evaluate"]
    assert "accuracy" in printed
    listed = [line.split("  ")[1] for line in printed.splitlines() if line.startswith(f"  {out}")]
    assert len(listed) == 6
    for path in listed:
        assert os.path.exists(path), path
    with open(f"{out}/digits/config.json") as file:
        assert json.load(file)["train"]["steps"] == 2
    # Everything is there already.
    assert main(["quickstart", "--out", out, "--override", *TINY, *SHORT]) == 0
    assert "Step 2: scored before" in caplog.text


def test_a_wrong_override_is_one_line_before_any_work(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["quickstart", "--out", str(out), "--override", "train.step=2"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path, capsys):
    out = tmp_path / "file"
    out.write_text("mine")
    assert main(["quickstart", "--out", str(out)]) == 2
    assert "expected a folder, found a file; choose another --out" in capsys.readouterr().err
    assert out.read_text() == "mine"
