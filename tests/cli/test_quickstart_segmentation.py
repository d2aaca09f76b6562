import os
import shlex

import pytest

from hamgan.cli.hamnet import main

TINY = ["model.backbone.base_channels=4", "model.head.channels=8", "model.head.align_channels=8", "model.head.rank=2"]
SHORT = ["augmentation.crop=33", "train.global_batch=2", "train.steps=2", "train.warmup_steps=0", "train.image_every=0"]


@pytest.mark.slow
def test_it_trains_and_compares_two_networks_and_predicts(tmp_path, scenes_dir, capsys):
    out = str(tmp_path / "a folder")
    os.mkdir(out)
    os.symlink(scenes_dir, f"{out}/data")
    assert main(["quickstart", "--out", out, "--override", *TINY, *SHORT]) == 0
    printed = capsys.readouterr().out
    commands = [shlex.split(line[2:])[1] for line in printed.splitlines() if line.startswith("$ hamnet ")]
    assert commands == ["prepare", "train", "train", "evaluate", "evaluate", "predict"]
    assert printed.count("mIoU of ") == 2
    listed = [line.split("  ")[1] for line in printed.splitlines() if line.startswith(f"  {out}")]
    assert len(listed) == 7
    for path in listed:
        assert os.path.exists(path), path
    assert len(os.listdir(f"{out}/predictions/pairs")) == 12


def test_a_wrong_override_of_the_quickstart_is_one_line_before_any_work(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["quickstart", "--out", str(out), "--override", "model.head.rnak=2"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert not out.exists()
