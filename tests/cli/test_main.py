import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import hamgan
from hamgan.cli.main import COMMANDS, build_parser, main
from hamgan.config import FROM_DATASET, differences, experiment_from_json, override, to_json
from hamgan.config.class_lists import parse_classes
from hamgan.config.presets import digits, hamgan_strong
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import FailedError, PreemptedError, UserError
from hamgan.evaluation.features import FeatureStore
from hamgan.runs.directory import RunDirectory

TINY = (
    *("model.generator.base_channels=2", "model.discriminator.base_channels=2", "model.discriminator.context=none"),
    *("model.generator.context.0.num_steps=1", "train.global_batch=4", "train.image_every=2", "train.steps=2"),
)

OPTIONS = {
    "prepare": ("digits", "folder", "imagenet", "classifier"),
    "prepare classifier": ("--data_dir", "--dataset", "--resolution", "--out", "--steps"),
    "prepare digits": ("--data_dir", "--classifier"),
    "prepare folder": (
        *("--data_dir", "--source", "--name", "--resolution", "--validation_split", "--crop", "--min_size", "--seed"),
        "--workers",
    ),
    "prepare imagenet": (
        *("--data_dir", "--source", "--train", "--validation", "--form", "--subset", "--per_class", "--strict"),
        *("--check", "--workers", "--beam"),
    ),
    "quickstart": ("--out", "--override"),
    "train": (
        *("--run", "--preset", "--dataset", "--data_dir", "--init_from", "--override", "--accelerator"),
        *("--cpu_replicas", "--tpu", "--zone", "--project", "--on_collapse", "--dry_run"),
    ),
    "evaluate": (
        *("--run", "--checkpoint", "--weights", "--classifier", "--num_samples", "--data_dir", "--override"),
        *("--accelerator", "--cpu_replicas", "--tpu", "--zone", "--project", "--dry_run"),
        *("--protocol", "--truncation", "--watch", "--timeout", "--cache_dir"),
    ),
    "doctor": (
        *("--run", "--preset", "--dataset", "--classifier", "--num_samples", "--out", "--cache_dir", "--data_dir"),
        *("--override", "--accelerator", "--cpu_replicas", "--tpu", "--zone", "--project"),
    ),
    "tpu-check": ("--preset", "--topology", "--precision", "--override"),
    "sample": (
        *("--run", "--checkpoint", "--weights", "--out", "--classes", "--num", "--per_class", "--seed", "--truncation"),
        *("--batch_norm", "--latents", "--batch"),
    ),
    "score": (
        *("--fakes", "--reference", "--out", "--save_statistics", "--classifier", "--resize", "--fakes_classifier"),
        *("--reference_classifier", "--checkpoint", "--weights", "--num_samples", "--truncation", "--resolution"),
        *("--neighbors_samples", "--batch", "--cache_dir", "--data_dir", "--accelerator", "--cpu_replicas", "--tpu"),
        *("--zone", "--project"),
    ),
    "interpolate": (
        *("--run", "--checkpoint", "--weights", "--out", "--classes", "--seeds", "--latents", "--frames", "--loop"),
        *("--truncation", "--rows", "--columns", "--fps", "--scale"),
    ),
    "invert": (
        *("--run", "--checkpoint", "--weights", "--out", "--class", "--classifier", "--starts", "--steps", "--seed"),
    ),
    "directions": ("--run", "--checkpoint", "--weights", "--out", "--method", "--num", "--classes", "--seed"),
    "neighbors": (
        *("--run", "--checkpoint", "--weights", "--out", "--classifier", "--num", "--neighbors", "--num_real"),
        *("--seed", "--truncation", "--cache_dir", "--data_dir"),
    ),
    "explore": (
        *("--run", "--checkpoint", "--weights", "--out", "--classes", "--seed", "--max_size", "--no_neighbors"),
        *("--classifier", "--cache_dir", "--data_dir"),
    ),
    "export": (
        *("--run", "--checkpoint", "--weights", "--out", "--formats", "--bases", "--license"),
        *("--score", "--classifier", "--num_samples", "--data_dir"),
    ),
    "convert": ("--official", "--to-official", "--out", "--preset", "--override", "--run", "--checkpoint", "--weights"),
}


@pytest.fixture(scope="module")
def run_path(tiny_run, tmp_path_factory):
    return shutil.copytree(tiny_run, str(tmp_path_factory.mktemp("runs") / "run"))


def _fails_with(capsys, arguments, message):
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert message in lines[0]


def test_every_command_s_help_is_looked_at():
    assert COMMANDS.keys() <= OPTIONS.keys()


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: hamgan {command} ")
    for option in OPTIONS[command]:
        assert f"  {option}" in text


@pytest.mark.usefixtures("eager")
def test_a_trained_run_is_evaluated_and_sampled(run_path, classifier_path, tmp_path, capsys):
    arguments = ["--run", run_path, "--classifier", classifier_path, "--num_samples", "20", "--checkpoint", "all"]
    arguments += ["--cache_dir", str(tmp_path / "features")]
    assert main(["evaluate", *arguments]) == 0
    protocol, *table = capsys.readouterr().out.splitlines()
    assert protocol.startswith("Protocol standard with")
    assert [line.split()[0] for line in table[:5]] == ["step", "0", "2", "4", "6"]
    picture = tmp_path / "grid.png"
    assert main(["sample", "--run", run_path, "--out", str(picture), "--classes", "1,4-5", "--per_class", "2"]) == 0
    height, width, _ = tf.io.decode_png(picture.read_bytes()).shape
    assert height == 96
    assert width > 64
    arguments = ["--classes", "1,4-5", "--num", "7", "--batch", "4"]
    assert main(["sample", "--run", run_path, "--out", str(tmp_path / "samples"), *arguments]) == 0
    assert main(["sample", "--run", run_path, "--out", f"{tmp_path}/samples/", *arguments]) == 0
    output = capsys.readouterr().out
    assert f"7 samples of step 6  {tmp_path}/samples\n" in output
    assert f"7 samples of step 6, 7 of them drawn before  {tmp_path}/samples/\n" in output
    pictures = sorted(path.relative_to(tmp_path / "samples") for path in (tmp_path / "samples").rglob("*.png"))
    assert [str(path) for path in pictures[:4]] == ["1/000000.png", "1/000003.png", "1/000006.png", "4/000001.png"]


@pytest.mark.slow
def test_a_preempted_evaluation_keeps_its_features_and_exits_with_75(
    run_path, classifier_path, tmp_path, capsys, monkeypatch
):
    append = FeatureStore.append
    appended = []

    def append_and_be_preempted(self, *arrays):
        append(self, *arrays)
        appended.append(len(arrays[-1]))
        if len(appended) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(FeatureStore, "append", append_and_be_preempted)
    arguments = ["evaluate", "--run", run_path, "--classifier", classifier_path, "--num_samples", "32"]
    arguments += ["--cache_dir", str(tmp_path), "--override", "evaluation.seed=77"]
    before = signal.getsignal(signal.SIGTERM)
    assert main(arguments) == 75
    assert signal.getsignal(signal.SIGTERM) is before
    assert "SIGTERM: the features so far are kept; run the same command again to resume" in capsys.readouterr().err
    assert main(arguments) == 0
    # 32 validation images, 32 training images and 32 fakes, each once.
    assert sum(appended) == 3 * 32


def test_a_begun_run_is_resumed_without_preset_and_data_folder(run_path, capsys):
    assert main(["train", "--run", run_path]) == 0
    assert "Report" in capsys.readouterr().out


@pytest.mark.slow
def test_the_preset_may_be_repeated_without_the_data_folder(run_path):
    changed = differences(digits(), RunDirectory(run_path).read_config())
    assignments = [f"{path}={value}" for path, (_, value) in changed.items() if path != "data.data_dir"]
    assert main(["train", "--run", run_path, "--preset", "digits", "--override", *assignments]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["train"], "required: --run"),
        (["train", "--run", "x", "--stpes", "3"], "unrecognized arguments: --stpes"),
        (["train", "--run", "x", "--preset", "digit"], "did you mean 'digits'"),
        (["train", "--run", "x", "--preset", "digits", "--override", "train.stpes=3"], "did you mean 'steps'"),
        (["train", "--run", "{tmp}/x"], "a new run needs --preset"),
        (["train", "--run", "{tmp}/x", "--preset", "digits", "--data_dir", "{tmp}"], "not prepared"),
        (["train", "--run", "{tmp}/x", "--preset", "digits", "--dataset", "nope", "--data_dir", "{tmp}"], "'nope'"),
        (["train", "--run", "{tmp}/x", "--preset", "digits", "--init_from", "{tmp}"], "expected a run folder, or a"),
        (["train", "--run", "{run}", "--override", "train.seed=4"], "train.seed is 0 there, 4 now"),
        (["train", "--run", "x", "--preset", "digits", "--on_collapse", "hope"], "must be one of stop, rollback"),
        (
            ["train", "--run", "x", "--preset", "digits", "--override", "train.precision=int8"],
            "float32, mixed_bfloat16",
        ),
        (["train", "--run", "{run}", "--accelerator", "tpux"], "must be one of auto, cpu, gpu, tpu"),
        (["train", "--run", "{run}", "--zone", "z"], "require --accelerator tpu"),
        (["tpu-check", "--preset", "digits", "--topology", "v5e"], "expected CHIP:SHAPE"),
        (["tpu-check", "--preset", "digits", "--topology", "v5x:2x2"], "unknown chip 'v5x'"),
        (["evaluate", "--run", "{tmp}/x"], "no run in"),
        (["evaluate", "--run", "digits"], "hamgan score --fakes digits --reference"),
        (["evaluate", "--run", "{run}", "--checkpoint", "7"], "found '7'; run has 0, 2, 4, 6"),
        (["evaluate", "--run", "{run}", "--classifier", "{tmp}/none"], "cannot be loaded"),
        (["evaluate", "--run", "{run}", "--override", "model.num_classes=3"], "data. and evaluation. fields only"),
        (["evaluate", "--run", "{run}", "--protocol", "publishd"], "did you mean 'published'"),
        (["evaluate", "--run", "{run}", "--truncation", "0.5,-1"], "--truncation expects positive numbers"),
        (["evaluate", "--run", "{run}", "--timeout", "5"], "--timeout requires --watch"),
        (["evaluate", "--run", "{run}", "--watch", "--checkpoint", "all"], "remove --checkpoint and --truncation"),
        (["evaluate", "--run", "{run}", "--override", "evaluation.batch_norm=mean"], "one of moving, batch, standing"),
        (["evaluate", "--run", "{run}", "--num_samples", "1"], "evaluation.num_samples must be at least 2"),
        (["doctor", "--run", "{tmp}/x"], "no run in"),
        (["doctor", "--run", "{run}", "--out", "{tmp}/no/y.png"], "there is no folder"),
        (["doctor", "--run", "{run}", "--out", "{tmp}"], "is a folder, expected a file"),
        (["sample", "--run", "{run}", "--out", "{run}"], "without samples.json; choose another name"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y.gif"], "or in / for a folder, found .gif"),
        (["train", "--run", "gs://b/x[1]", "--preset", "digits"], "choose another name"),
        (["sample", "--run", "{tmp}/x", "--out", "{tmp}/y.png"], "no run in"),
        (["sample", "--run", "{run}", "--out", "{tmp}/no/y.png"], "there is no folder"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y.png", "--classes", "3,12"], "are 0 to 9, found 12"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y/", "--per_class", "3"], "use num"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y.npz", "--latents", "{tmp}/z.npz"], "cannot read"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y.png", "--checkpoint", "all"], "one checkpoint"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y.png", "--per_class", "0"], "must be positive"),
        (["sample", "--run", "{run}", "--out", "{tmp}/y.png", "--seed", "-1"], "seed must be in"),
        (["invert", "{tmp}/x.png", "--run", "{run}", "--out", "{tmp}", "--classifier", "none"], "cannot read"),
        (["invert", "x.png", "--run", "{tmp}/x", "--out", "{tmp}/y"], "no run in"),
        (["invert", "x.png", "--run", "{run}", "--out", "{run}/config.json/y"], "config.json is a file"),
        (["invert", "x.png", "--run", "{run}", "--out", "{tmp}", "--classifier", "{tmp}/z"], "cannot be loaded"),
        (["invert", "x.png", "--run", "{run}", "--out", "{tmp}", "--starts", "0"], "a positive whole number"),
        (["directions", "--run", "{run}", "--out", "{tmp}", "--method", "pca"], "sefa or ganspace, found 'pca'"),
        (["directions", "--run", "{run}", "--out", "{tmp}", "--num", "7"], "must be in 1-6"),
        (["directions", "--run", "{run}", "--out", "{tmp}", "--classes", "nine"], "unknown class 'nine'"),
        (["neighbors", "--run", "{run}", "--out", "{tmp}"], "is a folder, expected a file"),
        (["neighbors", "--run", "{run}", "--out", "{tmp}/y.html", "--classifier", "{tmp}/z"], "cannot be loaded"),
        (["neighbors", "--run", "{run}", "--out", "{tmp}/y.html", "--truncation", "0"], "must be positive, found 0"),
        (["prepare", "digitz"], "invalid choice: 'digitz'"),
        (["prepare", "classifier", "--dataset", "x", "--resolution", "8", "--out", "{tmp}"], "choose another --out"),
        (["prepare", "folder", "--source", "{tmp}", "--name", "mnist"], "'mnist' is a data set of TFDS or HamGAN"),
        (
            ["prepare", "folder", "--source", "{tmp}", "--name", "x", "--resolution", "48"],
            "of 32, 64, 128, 256, found 48",
        ),
        (["prepare", "folder", "--source", "{tmp}", "--name", "x", "--crop", "top"], "center or pad, found 'top'"),
        (["prepare", "folder", "--source", "{tmp}", "--name", "x", "--validation_split", "a"], "such as 10%, a number"),
        (["prepare", "folder", "--source", "{tmp}", "--name", "x", "--data_dir", "{tmp}/a"], "is inside of --source"),
        (["prepare", "imagenet"], "expected --source DIR, or --train PATH and --validation PATH"),
        (["prepare", "imagenet", "--source", "{tmp}"], "expected ILSVRC2012_img_train.tar or train there"),
        (["prepare", "imagenet", "--source", "{tmp}", "--form", "127"], "any of original, 64, 128, 256, found '127'"),
        (["prepare", "imagenet", "--source", "{tmp}", "--per_class", "0"], "a positive whole number, found '0'"),
        (["prepare", "imagenet", "--train", "{tmp}", "--subset", "n01440765"], "did you mean 'n01440764'?"),
        (["prepare", "imagenet", "--train", "{tmp}", "--subset", ","], "expected classes, such as n01440764"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(arguments, message, run_path, tmp_path, capsys):
    filled = [argument.format(tmp=tmp_path, run=run_path) for argument in arguments]
    _fails_with(capsys, filled, message)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_prints_the_settings_and_does_nothing(run_path, tmp_path, capsys):
    new = ["train", "--run", str(tmp_path / "x"), "--preset", "hamgan_strong", "--override", "train.steps=5"]
    assert main([*new, "--dry_run"]) == 0
    printed = experiment_from_json(capsys.readouterr().out, "printed")
    assert printed == override(hamgan_strong(), ["train.steps=5"])
    assert list(tmp_path.iterdir()) == []
    before = sorted(str(path) for path in pathlib.Path(run_path).rglob("*"))
    assert main(["evaluate", "--run", str(run_path), "--num_samples", "7", "--dry_run"]) == 0
    assert '"num_samples": 7' in capsys.readouterr().out
    assert sorted(str(path) for path in pathlib.Path(run_path).rglob("*")) == before


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_a_new_data_set_trains_with_its_own_classes_resolution_and_labels_in_gray(
    digits_dir, classifier_path, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # The folder of the cache.
    path = str(tmp_path / "run")
    train = ["train", "--run", path, "--preset", "small_data"]
    data = ["--dataset", "digits", "--data_dir", digits_dir]
    settings = ["--override", *TINY, "train.label_distribution=dataset", "model.channels=1"]
    settings += ["regularization.consistency_real=0", "regularization.consistency_fake=0"]  # compiles in half the time
    assert main([*train, *data, "--dry_run"]) == 0
    printed = experiment_from_json(capsys.readouterr().out, "printed")
    assert printed.model.num_classes is printed.model.resolution is printed.data.train_split is FROM_DATASET
    assert list(tmp_path.iterdir()) == []

    assert main([*train, *data, *settings]) == 0
    config = RunDirectory(path).read_config()
    assert (config.model.num_classes, config.model.resolution) == (10, 32)
    assert config.model.generator.context[0].resolution == 16
    assert (config.data.train_split, config.data.validation_split) == ("train", "validation")
    batches = ClassificationDataset(config.data).evaluation_batches("train", resolution=32, batch=500)
    labels = np.concatenate([labels for _, labels in batches.as_numpy_iterator()])
    counts = np.bincount(labels).tolist()
    assert hamgan.load(path).class_counts == counts
    # Resuming compares the settings that the data set determines.
    assert main([*train, *settings]) == 0
    _fails_with(capsys, [*train, *settings, "model.resolution=64"], "model.resolution is 32 there, 64 now")
    _fails_with(capsys, ["train", "--run", str(tmp_path / "new"), "--preset", "small_data"], "pass --dataset NAME")

    (result,) = hamgan.evaluate(path, classifier=classifier_path, num_samples=24)
    digest = hashlib.sha256(json.dumps(counts).encode()).hexdigest()
    assert result["card"]["label_distribution"] == f"dataset, class counts {digest[:16]}"
    assert result["card"]["channels"] == 1
    os.remove(RunDirectory(path).class_counts_path)
    assert hamgan.load(path).sample([3]).shape == (1, 32, 32, 1)
    assert main(["sample", "--run", path, "--out", str(tmp_path / "grid.png"), "--classes", "3"]) == 0
    for picture in (tmp_path / "grid.png", pathlib.Path(RunDirectory(path).samples_path(2))):
        assert tf.io.decode_png(picture.read_bytes()).shape[2] == 1
    _fails_with(capsys, ["evaluate", "--run", path, "--classifier", classifier_path], "class_counts.json is missing")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PreemptedError("stopped"), 75),
        (FailedError("collapsed"), 1),
        (PermissionError(13, "Permission denied", "a/b"), 2),
        (tf.errors.UnavailableError(None, None, "gs://bucket is out of reach"), 2),
    ],
)
def test_other_ends_have_exit_codes_and_one_line(monkeypatch, run_path, capsys, error, code):
    def end(*_):
        raise error

    monkeypatch.setattr("hamgan.training.gan.train", end)
    assert main(["train", "--run", str(run_path)]) == code
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(("command", "module"), [("train", "training_command"), ("evaluate", "evaluate")])
def test_sigterm_while_tensorflow_is_loaded_is_a_preemption(command, module, monkeypatch, run_path, capsys):
    monkeypatch.setattr(f"hamgan.cli.{module}.import_tensorflow_quietly", lambda: signal.raise_signal(signal.SIGTERM))
    assert main([command, "--run", str(run_path)]) == 75
    assert capsys.readouterr().err.endswith("; run the same command again to resume\n")


def test_verbosity_may_stand_before_or_after_the_command():
    train = ["train", "--run", "x"]
    assert build_parser().parse_args(train).verbosity == "info"
    assert build_parser().parse_args(["--verbosity", "error", *train]).verbosity == "error"
    assert build_parser().parse_args([*train, "--verbosity", "debug"]).verbosity == "debug"


@pytest.mark.slow
def test_verbosity_sets_the_level_of_every_logger():
    code = """
import absl.logging
import logging
from hamgan.cli.command_line import VERBOSITIES, set_up_log
for verbosity in VERBOSITIES:
    logging.getLogger("hamgan").error(f"hamgan {verbosity}:")
    set_up_log(verbosity)
    import tensorflow as tf
    import tensorflow_datasets
    logging.getLogger("hamgan.training").debug("hamgan debug")
    absl.logging.debug("absl debug")
    absl.logging.info("absl info")
    tf.get_logger().info("tensorflow info")
    logging.getLogger("hamgan.training").info("hamgan info")
    absl.logging.warning("absl warning")
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [line for line in result.stderr.splitlines() if line.startswith(("hamgan", "absl", "tensorflow "))] == [
        *("hamgan debug:", "hamgan debug", "absl info", "tensorflow info", "hamgan info", "absl warning"),
        *("hamgan info:", "hamgan info", "absl warning"),
        *("hamgan warning:", "absl warning"),
        "hamgan error:",
    ]


@pytest.mark.slow
def test_messages_above_a_progress_bar_do_not_break_it():
    code = """
import logging
import absl.logging
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from hamgan.cli.command_line import set_up_log
set_up_log("info")
import tensorflow as tf
with tqdm(total=2, mininterval=0) as bar, logging_redirect_tqdm():
    bar.update()
    logging.getLogger("hamgan.training").info("message of hamgan")
    absl.logging.warning("message of absl")
    tf.get_logger().warning("message of tensorflow")
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    # A terminal shows what follows the last carriage return: the message alone, after the bar has been erased.
    lines = [line.rsplit("\r", 1)[-1] for line in result.stderr.decode().split("\n")]
    assert [line for line in lines if "message of " in line] == [
        "message of hamgan",
        "message of absl",
        "message of tensorflow",
    ]
    assert not [line for line in lines[:-2] if "it/s" in line]


def test_a_report_that_cannot_be_written_does_not_make_the_training_fail(monkeypatch, run_path, capsys, caplog):
    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hamgan.runs.report.write_report", refuse)
    monkeypatch.setattr("hamgan.training.gan.train", lambda *_: None)
    assert main(["train", "--run", str(run_path)]) == 0
    assert "report.html (No space left on device)" in caplog.text
    assert "Report" not in capsys.readouterr().out


def test_a_data_folder_may_be_named_none(capsys):
    assert main(["train", "--run", "x", "--preset", "digits", "--data_dir", "none", "--dry_run"]) == 0
    assert experiment_from_json(capsys.readouterr().out, "printed").data.data_dir == "./none"


HELP = [sys.executable, "-c", "from hamgan.cli.main import run; run()", "train", "--help"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_the_console_command_says_that_its_output_is_refused():
    with open("/dev/full", "w") as full:
        result = subprocess.run(HELP, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        "hamgan: error: cannot write standard output: No space left on device\n",
    )


def test_the_console_command_ends_quietly_if_nobody_reads_it():
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    result = subprocess.run(HELP, stdout=writing_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing_end)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_config_of_another_version_is_refused(tiny, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(to_json(tiny).replace('"rank"', '"rnak"'))
    _fails_with(capsys, ["train", "--run", str(run)], "did you mean 'rank'")


def test_the_average_is_refused_where_none_is_kept(tiny, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(to_json(override(tiny, ["train.ema_decay=0"])))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "ckpt-1.index").write_bytes(b"")
    _fails_with(capsys, ["evaluate", "--run", str(run), "--weights", "ema"], "keeps no moving average")


@pytest.mark.slow
def test_the_console_command_prints_only_the_message(tmp_path):
    command = [sys.executable, "-c", "from hamgan.cli.main import run; run()", "train", "--run", str(tmp_path / "x")]
    arguments = ["--preset", "digits", "--data_dir", str(tmp_path)]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("hamgan train: error: data set 'digits' is known but") or result.stderr.startswith(
        "hamgan train: error: no data set 'digits' in"
    )
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("text", "classes"), [("3", [3]), ("0,2", [0, 2]), ("1-3,9", [1, 2, 3, 9]), ("5-5", [5])])
def test_classes_are_numbers_and_ranges(text, classes):
    assert parse_classes(text, 10, "--classes") == classes


@pytest.mark.parametrize("text", ["a", "1,", "-3", "3-", "10", "5-3", "1,5-3", "1-12", "0-99999999999999"])
def test_wrong_classes_are_refused(text):
    with pytest.raises(UserError, match="--classes"):
        parse_classes(text, 10, "--classes")


def test_a_missing_package_for_imagenet_is_named_with_its_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    arguments = ["prepare", "imagenet", "--source", str(tmp_path), "--data_dir", str(tmp_path)]
    _fails_with(capsys, arguments, "pip install 'hamgan[imagenet]'")
