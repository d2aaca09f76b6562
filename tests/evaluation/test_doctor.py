import pytest
import tensorflow as tf

from hamgan.config import override
from hamgan.evaluation import doctor
from hamgan.evaluation.doctor import Doctor
from hamgan.runs.directory import RunDirectory

NAMES = ["versions", "devices", "data", "real images", "checkpoint", "training step"]

pytestmark = pytest.mark.usefixtures("eager")


def _examine(config, tmp_path):
    """Returns the findings by name for a run folder in tmp_path."""
    run = RunDirectory(str(tmp_path / "run"))
    examiner = Doctor(
        config,
        run,
        tf.distribute.get_strategy(),
        grid_path=str(tmp_path / "grid.png"),
        cache_dir=str(tmp_path / "cache"),
    )
    reported = []
    findings = examiner.findings(reported.append)
    assert findings == reported
    assert [finding.name for finding in findings] == NAMES
    return {finding.name: finding for finding in findings}


@pytest.fixture
def config(tiny, classifier_path):
    return override(tiny, [f"evaluation.classifier={classifier_path}"])


@pytest.mark.slow
def test_all_checks_pass_on_a_working_machine_and_leave_only_the_picture(config, tmp_path):
    findings = _examine(config, tmp_path)
    assert all(finding.passed for finding in findings.values()), findings
    assert tf.__version__ in findings["versions"].detail
    assert "1 CPU" in findings["devices"].detail
    assert "1,442 of train and 355 of validation" in findings["data"].detail
    assert "IS" in findings["real images"].detail
    assert "images/s" in findings["training step"].detail
    assert tf.io.decode_png((tmp_path / "grid.png").read_bytes()).shape == (64, 64, 3)
    assert not (tmp_path / "run").exists()


def test_a_failed_check_does_not_stop_the_others(config, tmp_path):
    wrong = override(config, ["model.num_classes=7", "evaluation.classifier=/no/classifier"])
    findings = _examine(wrong, tmp_path)
    assert [name for name in NAMES if not findings[name].passed] == ["data", "real images", "training step"]
    assert "model.num_classes=10" in findings["data"].detail
    assert "skipped: needs the data" in findings["training step"].detail
    assert "cannot be loaded" in findings["real images"].detail


@pytest.mark.slow
def test_a_checkpoint_that_changes_when_read_back_fails(config, tmp_path, monkeypatch):
    restore = doctor.restore

    def restore_otherwise(path, variables):
        restore(path, variables)
        variables["step"].assign_add(1)

    monkeypatch.setattr(doctor, "restore", restore_otherwise)
    findings = _examine(config, tmp_path)
    assert not findings["checkpoint"].passed
    assert "1 variable changed when read back, such as step" in findings["checkpoint"].detail


@pytest.mark.slow
def test_an_inception_score_outside_the_known_range_fails(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Doctor, "_has_known_score", lambda self, evaluator: True)
    findings = _examine(config, tmp_path)
    assert not findings["real images"].passed
    assert "suspect the pipeline" in findings["real images"].detail


def test_a_run_started_during_the_check_is_left_untouched(config, tmp_path, monkeypatch):
    run = RunDirectory(str(tmp_path / "run"))
    restore = doctor.restore

    def restore_and_begin(path, variables):
        restore(path, variables)
        # Another process starts a run in the checked folder.
        run.write_config(config)

    monkeypatch.setattr(doctor, "restore", restore_and_begin)
    examiner = Doctor(config, run, tf.distribute.get_strategy(), grid_path=str(tmp_path / "grid.png"))
    assert "read back" in examiner.check_checkpoint()
    assert run.read_config() == config
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
