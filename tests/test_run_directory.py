import pytest

from hamgan.errors import UserError
from hamgan.presets import digits
from hamgan.run_directory import RunDirectory, write_atomically


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    run.create(digits())
    return run


def test_config_is_read_back(run):
    assert run.exists()
    assert run.read_config() == digits()


def test_there_is_no_run_where_none_was_made(tmp_path):
    run = RunDirectory(str(tmp_path / "nothing"))
    assert not run.exists()
    with pytest.raises(UserError, match=r"no run in .*nothing"):
        run.read_config()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory(str(tmp_path)).create(digits())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_kill_while_it_is_made_leaves_is_no_hindrance(tmp_path):
    (tmp_path / "config.json.tmp").write_text('{"na')
    run = RunDirectory(str(tmp_path))
    run.create(digits())
    assert run.read_config() == digits()


def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory(str(path)).create(digits())
    with pytest.raises(UserError, match="cannot write the run folder"):
        RunDirectory(str(path / "below")).create(digits())
    assert path.read_text() == "x"


def test_torn_lines_of_the_metrics_are_left_out(run):
    run.append_metrics([{"step": 1, "x": 0.5}])
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 2, "x"')
    run.end_torn_line()
    run.append_metrics([{"step": 2, "x": 0.25}])
    with open(run.metrics_path, "a") as file:
        file.write('{"step": 3, "x"')
    assert run.read_metrics() == [{"step": 1, "x": 0.5}, {"step": 2, "x": 0.25}]
    run.forget_metrics_after(1)
    run.append_metrics([{"step": 2, "x": 0.75}])
    assert run.read_metrics() == [{"step": 1, "x": 0.5}, {"step": 2, "x": 0.75}]


def test_grids_are_listed_by_step(run):
    for step in (100, 20):
        write_atomically(run.samples_path(step), b"png")
    assert run.sample_grids() == {20: run.samples_path(20), 100: run.samples_path(100)}


def test_evaluations_are_listed_by_step(run):
    for step in (100, 20):
        write_atomically(run.evaluation_path(step, "ema"), b'{"step": %d, "weights": "ema"}' % step)
    write_atomically(run.evaluation_path(20, "raw"), b'{"step": 20, "weights": "raw"}')
    found = [(result["step"], result["weights"]) for result in run.read_evaluations()]
    assert found == [(20, "ema"), (20, "raw"), (100, "ema")]


def test_writing_replaces_the_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(str(path), b"long content")
    write_atomically(str(path), b"short")
    assert path.read_bytes() == b"short"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
