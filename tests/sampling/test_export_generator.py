"""Export of a run's generator: files, verification, model card and the code in it."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import yaml
from page_blocks import CHECKOUT, blocks

import hamgan
from hamgan.cli.main import main
from hamgan.errors import FailedError, UserError
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.export import exporter
from hamgan.sampling.export.model_format import ModelFormat

EARLIER_RUN = CHECKOUT / "tests" / "runs" / "run_e872773"


def loaded(path):
    """The run, with a Hamburger that has an effect."""
    run = hamgan.load(str(path))
    run.generator.context[0].sigma.assign(1.0)
    return run


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    """A run whose only score is one with random bases."""
    return shutil.copytree(EARLIER_RUN, tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def exported(run_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "model"
    return out, loaded(run_path), loaded(run_path).export(str(out), formats=["savedmodel", "keras"])


class Copy(ModelFormat):
    """A quick format whose images differ from those of the generator by ``error``."""

    title = "Copy"
    file_name = "copy"

    def __init__(self, error=0.0, packages=()):
        self.error = error
        self.packages = packages
        self.extra = "onnx"

    def write(self, generator, path):
        with open(path, "wb") as file:
            file.write(bytes(1_500_000))

    def load(self, path, generator):
        made = {}

        def generate(z, labels):
            key = (z.tobytes(), labels.tobytes())
            if key not in made:
                made[key] = generator(z, labels).numpy() + self.error
            return made[key]

        return generate

    def usage(self, generator):
        return "images = None\n"


def metadata(card):
    front_matter = re.match(r"---\n(.*?)\n---\n\n# ", card, re.DOTALL)
    return yaml.safe_load(front_matter[1])


def test_files_agree_with_the_keras_model(exported):
    out, _, files = exported
    assert [file.file for file in files] == ["saved_model", "generator.keras"]
    assert all(file.difference <= 1e-5 for file in files)
    assert files[1].bytes == os.path.getsize(out / "generator.keras")
    assert all(seconds > 0 for file in files for seconds in file.seconds_per_image.values())
    assert sorted(os.listdir(out)) == sorted(
        ["README.md", "class_names.json", "export.json", "generator.keras", "samples.png", "saved_model"]
    )
    assert os.listdir(out.parent) == ["model"]
    assert json.loads((out / "class_names.json").read_text()) == [str(label) for label in range(10)]
    assert tf.io.decode_png((out / "samples.png").read_bytes()).shape[0] == 10 * 32


def test_saved_model_gives_the_samples_of_the_run(exported):
    out, run, _ = exported
    model = tf.saved_model.load(str(out / "saved_model"))
    sampled = model.sample(labels=[3, 3, 7], seed=5, truncation=0.7)["images"].numpy()
    expected = run.sample([3, 3, 7], seed=5, truncation=0.7)
    assert sampled.dtype == np.uint8
    np.testing.assert_allclose(sampled.astype(int), expected.astype(int), atol=1)
    assert abs(expected[0].astype(int) - expected[1]).max() > 5  # Latent vectors matter.
    z = np.random.default_rng(1).normal(size=(3, run.generator.z_dim)).astype(np.float32)
    labels = np.array([1, 1, 9], np.int32)
    images = model.generate(z=z, labels=labels)["images"]
    np.testing.assert_allclose(images, hamgan.layers.fix_bases(run.generator)(z, labels), atol=1e-5)


USE_SAVED_MODEL = """
sampled = {
    str(truncation): model.sample(labels=[3, 3, 7], seed=5, truncation=truncation)["images"].numpy()
    for truncation in (float("inf"), 0.7)
}
for arguments in ([3, 10], 0, 1.0), ([3, 3], 0, 0.0), ([3, 3], -1, 1.0):
    try:
        model.sample(*arguments)
    except tf.errors.InvalidArgumentError:
        continue
    raise AssertionError(arguments)
import sys
assert "hamgan" not in sys.modules
np.savez("sampled.npz", z=z, labels=labels, images=images, **sampled)
"""


@pytest.mark.slow
def test_saved_model_needs_no_hamgan(exported, tmp_path):
    out, run, _ = exported
    shutil.copytree(out / "saved_model", tmp_path / "saved_model")
    code = blocks(out / "README.md", "python")[0] + USE_SAVED_MODEL
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "custom gradients" not in done.stderr
    sampled = np.load(tmp_path / "sampled.npz")
    for truncation in (float("inf"), 0.7):
        expected = run.sample([3, 3, 7], seed=5, truncation=None if truncation > 1 else truncation)
        assert sampled[str(truncation)].dtype == np.uint8
        np.testing.assert_allclose(sampled[str(truncation)].astype(int), expected.astype(int), atol=1)
    fixed = hamgan.layers.fix_bases(run.generator)
    np.testing.assert_allclose(sampled["images"], fixed(sampled["z"], sampled["labels"]), atol=1e-5)


def test_keras_file_runs_as_its_card_says(exported, monkeypatch):
    out, run, _ = exported
    monkeypatch.chdir(out)
    names = {}
    exec(blocks(out / "README.md", "python")[1], names)
    expected = hamgan.layers.fix_bases(run.generator)(names["z"], names["labels"])
    np.testing.assert_allclose(names["images"], expected, atol=1e-5)
    assert abs(names["images"] - run.generator(names["z"], names["labels"])).numpy().max() > 1e-4


def test_card_without_a_score_of_fixed_bases_says_so(exported):
    card = (exported[0] / "README.md").read_text()
    entries = metadata(card)
    assert entries["license"] == "unknown"
    assert (entries["library_name"], entries["datasets"]) == ("keras", ["digits"])
    scores = entries["model-index"][0]["results"][0]["metrics"]
    assert {score["type"]: score["value"] for score in scores}["fid"] == pytest.approx(383.6348, abs=1e-3)
    assert "The FID with fixed bases has not been computed" in card
    assert "| random | " in card
    assert "966e34b4" not in card  # the checkpoint's digest is of no use to readers
    assert str(EARLIER_RUN.parent) not in card


def test_card_has_the_fid_with_fixed_beside_that_with_random_bases(run_path, tmp_path, monkeypatch):
    path = shutil.copytree(run_path, tmp_path / "digits")
    directory = RunDirectory(str(path))
    (result,) = directory.evaluations.read()
    with_fixed = {**result, "card": {**result["card"], "bases": "fixed"}, "scores": {"fid": 400.25}}
    other_weights = {**result, "weights": "raw", "card": {**result["card"], "weights": "raw"}, "scores": {"fid": 777.0}}
    for each in (with_fixed, other_weights):
        directory.evaluations.write(each)
    monkeypatch.setitem(exporter.FORMATS, "keras", Copy())
    (file,) = loaded(path).export(str(tmp_path / "model"), formats=["keras"], license_id="mit")
    assert (file.bytes, file.difference) == (1_500_000, 0.0)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "FID with fixed bases: 400.25, with random bases: 383.63" in card
    assert "777" not in card
    assert "| Copy | copy | 1.50 | 0.0e+00 |" in card
    assert metadata(card)["license"] == "mit"


@pytest.mark.parametrize("error", [2e-4, float("nan")])
def test_nothing_is_written_if_a_file_differs(run_path, tmp_path, monkeypatch, error):
    monkeypatch.setitem(exporter.FORMATS, "keras", Copy(error))
    with pytest.raises(FailedError, match=r"Copy: images differ from those of .* nothing was written"):
        loaded(run_path).export(str(tmp_path / "model"), formats=["keras"])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formats": ["savedmodle"]}, "formats are .* found 'savedmodle'; did you mean 'savedmodel'"),
        ({"formats": []}, "formats are .* found none"),
        ({"bases": "running"}, "bases must be fixed or random, found 'running'"),
        ({"bases": "random"}, "TFLite and ONNX cannot draw random bases; use --bases fixed"),
        ({"formats": ["keras"]}, r"needs the packages no_such_package, found no .*pip install 'hamgan\[onnx\]'"),
    ],
)
def test_wrong_arguments_are_reported_before_any_work(run_path, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setitem(exporter.FORMATS, "keras", Copy(packages=("no_such_package",)))
    with pytest.raises(UserError, match=message):
        hamgan.load(str(run_path)).export(str(tmp_path / "model"), **arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("full", "expected a new or an empty folder"), ("a[1]", "without"), ("file/a", "cannot create")],
)
def test_folder_must_be_new_or_empty(run_path, tmp_path, name, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").write_text("kept")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match=message):
        hamgan.load(str(run_path)).export(str(tmp_path / name), formats=["keras"])
    assert (tmp_path / "full" / "kept").read_text() == (tmp_path / "file").read_text() == "kept"


def test_scoring_options_need_score(run_path, tmp_path, capsys):
    arguments = ["export", "--run", str(run_path), "--out", str(tmp_path / "model"), "--num_samples", "9"]
    assert main(arguments) == 2
    assert "--num_samples expected together with --score" in capsys.readouterr().err


@pytest.mark.slow
def test_all_formats_and_both_scores(tiny_run, classifier_path, digits_dir, tmp_path, monkeypatch, capsys):
    path = shutil.copytree(tiny_run, tmp_path / "digits")
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = ["--run", str(path), "--out", str(tmp_path / "model"), "--score", "--classifier", classifier_path]
    assert main(["export", *arguments, "--data_dir", digits_dir]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("saved_model", "generator.keras", "generator.tflite", "generator.onnx"))
    assert len(RunDirectory(str(path)).evaluations.own()) == 2
    card = (tmp_path / "model" / "README.md").read_text()
    assert re.search(r"FID with fixed bases: [\d.]+, with random bases: [\d.]+ \(", card)
    assert classifier_path not in card

    monkeypatch.chdir(tmp_path / "model")
    images = []
    for code in blocks(tmp_path / "model" / "README.md", "python"):
        names = {}
        exec(code, names)
        images.append(np.asarray(names["images"]))
    assert len(images) == 4
    for each in images[1:]:
        np.testing.assert_allclose(each, images[0], atol=1e-4)


@pytest.mark.slow
def test_random_bases_stay_random(run_path, tmp_path):
    run = loaded(run_path)
    files = run.export(str(tmp_path / "model"), formats=["savedmodel", "keras"], bases="random")
    assert all(file.difference <= 1e-5 for file in files)
    model = tf.saved_model.load(str(tmp_path / "model" / "saved_model"))
    z, labels = np.zeros((2, run.generator.z_dim), np.float32), [1, 2]
    first, second = (model.generate(z=z, labels=labels)["images"].numpy() for _ in range(2))
    assert abs(first - second).max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("override", ["train.precision=float64", "model.generator.context=none"])
def test_other_generators(override, tmp_path, tiny_run):
    from hamgan.config import override as override_config
    from hamgan.networks.build import build_generator

    run = hamgan.load(tiny_run)
    run.config = override_config(run.config, [override])
    run.generator = build_generator(
        run.config.model, name="ema_generator", precision="float64" if "float64" in override else "float32"
    )
    files = run.export(str(tmp_path / "model"))
    assert [file.difference <= 1e-5 for file in files] == [True] * 4
    assert ("initial bases" in (tmp_path / "model" / "README.md").read_text()) == ("float64" in override)


@pytest.mark.slow
def test_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    shutil.copytree(EARLIER_RUN, tmp_path / "runs" / "digits")
    monkeypatch.chdir(tmp_path)
    os.symlink("digits_from_python", "digits_model")  # The command on the page writes the same files.
    names = {}
    for code in blocks(CHECKOUT / "docs" / "export.md", "python"):
        exec(code, names)
    assert "generator.keras" in capsys.readouterr().out
    assert names["images"].shape == (3, 32, 32, 3)
