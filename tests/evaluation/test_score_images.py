import json
import os
import re

import numpy as np
import pytest
from PIL import Image

import hamgan
from hamgan.cli.main import main
from hamgan.config.protocols import card_id
from hamgan.errors import UserError
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.features import FeatureStore

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 20, 24, 3), np.uint8)
WIDTH = 64
MU, SIGMA = np.zeros(WIDTH), np.eye(WIDTH)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder, and files of the same images and of statistics."""
    path = tmp_path_factory.mktemp("images")
    for index, image in enumerate(IMAGES):
        (path / "folder" / str(index // 30)).mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(path / "folder" / str(index // 30) / f"{index:06d}.png")
    np.savez(path / "images.npz", IMAGES, np.arange(60))
    np.savez(path / "one.npz", IMAGES[:1])
    np.savez(path / "foreign.npz", mu=MU, sigma=SIGMA)
    np.savez(path / "wide.npz", mu=np.zeros(2048), sigma=np.eye(2048, dtype=np.float32))
    np.savez(path / "adm.npz", arr_0=IMAGES, mu=MU, sigma=SIGMA, mu_s=MU, sigma_s=SIGMA)
    (path / "empty").mkdir()
    (path / "notes.txt").write_text("x")
    return path


@pytest.fixture
def score(classifier_path, digits_dir, cache_dir):
    def scored(fakes, reference, **options):
        common = {"classifier": classifier_path, "data_dir": digits_dir, "cache_dir": cache_dir}
        paths = [str(item) if isinstance(item, os.PathLike) else item for item in (fakes, reference)]
        return hamgan.score(*paths, **(common | options))

    return scored


@pytest.mark.slow
def test_samples_of_a_run_have_the_scores_of_an_evaluation(score, trained_run, classifier_path, cache_dir):
    run = hamgan.load(trained_run.path)
    (expected,) = hamgan.evaluate(
        run,
        classifier=classifier_path,
        num_samples=24,
        cache_dir=cache_dir,
        overrides=["evaluation.neighbors_samples=20"],
    )
    before = set(os.listdir(cache_dir))
    result = score(run, "tfds:digits:validation[:24]", num_samples=24, neighbors_samples=20)
    for name, value in result["scores"].items():
        assert value == pytest.approx(expected["scores"][name], rel=1e-9), name
    assert result["real"]["inception_score"] == expected["real"]["inception_score"]
    assert result["card"]["fakes"]["checkpoint"] == expected["checkpoint"]
    # The features of the data set are shared, and those of the samples deleted.
    assert set(os.listdir(cache_dir)) == before
    bicubic = score(run.path, run, checkpoint="0", weights="raw", num_samples=24, resize="bicubic", neighbors_samples=0)
    assert bicubic["card"]["fakes"]["checkpoint"] != expected["checkpoint"]
    assert bicubic["card"]["fakes"] == bicubic["card"]["reference"]
    assert bicubic["scores"]["fid"] == pytest.approx(0, abs=1e-5)


def test_a_folder_and_an_array_of_the_same_images_have_the_same_scores(score, files):
    folder = score(files / "folder", "tfds:digits")
    array = score(files / "images.npz", "tfds:digits")
    assert folder["scores"] == array["scores"]
    assert None not in array["scores"].values()
    assert array["card_id"] == card_id(array["card"])
    (warning,) = array["warnings"]
    assert "60 images of the fakes have 64 features each" in warning


def test_statistics_are_saved_and_scored_in_place_of_their_images(score, files, tmp_path):
    saved = str(tmp_path / "statistics.npz")
    both = score("tfds:digits", files / "images.npz", resize="bicubic", neighbors_samples=0)
    alone = score(None, files / "images.npz", resize="bicubic", save_statistics=saved)
    assert alone["scores"] == {}
    from_statistics = score("tfds:digits", saved, resize="bicubic")
    assert from_statistics["scores"]["fid"] == pytest.approx(both["scores"]["fid"], rel=1e-12)
    assert from_statistics["scores"]["kid"] is None
    card = from_statistics["card"]
    assert card["reference"]["images"] == 60
    assert card["reference"]["classifier_sha256"] == card["classifier"]["sha256"]
    assert "bicubic" in card["classifier"]["resize"]
    assert any("60 images of the reference" in warning for warning in from_statistics["warnings"])
    with pytest.raises(UserError, match="expected one way of resizing, found 'bilinear"):
        score("tfds:digits", saved)
    assert hamgan.score(saved, saved)["scores"]["fid"] == pytest.approx(0, abs=1e-6)


def test_statistics_of_another_classifier_are_refused(score, files, tmp_path, classifier_path):
    sha256 = Classifier(classifier_path).sha256
    for stated in (sha256, classifier_path):
        result = score(files / "images.npz", files / "foreign.npz", reference_classifier=stated)
        assert result["scores"]["fid"] > 0
        assert not any("cannot be compared" in warning for warning in result["warnings"])
        assert result["card"]["reference"]["stated_classifier"] == stated
    result = score(files / "images.npz", files / "foreign.npz", reference_classifier="pytorch-fid 0.3")
    assert any("cannot be compared" in warning for warning in result["warnings"])
    with pytest.raises(UserError, match=f"expected features of one classifier, found {sha256[:16]} .* and {'0' * 16}"):
        score(files / "images.npz", files / "foreign.npz", reference_classifier="0" * 64)


def test_two_files_of_statistics_need_no_classifier(files):
    path = str(files / "foreign.npz")
    result = hamgan.score(path, path, fakes_classifier="pytorch-fid", reference_classifier="pytorch-fid")
    assert result["scores"]["fid"] == pytest.approx(0, abs=1e-9)
    assert "classifier" not in result["card"]
    with pytest.raises(UserError, match=r"found clean-fid for .* and pytorch-fid for"):
        hamgan.score(path, path, fakes_classifier="clean-fid", reference_classifier="pytorch-fid")


def test_a_file_of_images_and_statistics_counts_as_images_unless_their_classifier_is_stated(score, files):
    images = score(files / "adm.npz", files / "images.npz", neighbors_samples=0)
    assert images["card"]["fakes"] == images["card"]["reference"]
    assert images["scores"]["fid"] == pytest.approx(0, abs=1e-5)
    stated = score(files / "adm.npz", files / "images.npz", fakes_classifier="ADM's Inception")
    assert stated["card"]["fakes"]["kind"] == "statistics"
    assert stated["scores"]["fid"] > 1


def test_an_interrupted_score_resumes(score, files, tmp_path, monkeypatch):
    options = {"cache_dir": str(tmp_path), "batch": 16, "neighbors_samples": 0}
    appended = []
    append = FeatureStore.append

    def interrupted(self, logits, *arrays):
        if len(appended) == 2:
            monkeypatch.setattr(FeatureStore, "append", recorded)
            raise KeyboardInterrupt
        recorded(self, logits, *arrays)

    def recorded(self, logits, *arrays):
        append(self, logits, *arrays)
        appended.append(len(logits))

    monkeypatch.setattr(FeatureStore, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(files / "images.npz", files / "images.npz", **options)
    resumed = score(files / "images.npz", files / "images.npz", **options)
    assert appended == [16, 16, 16, 12]
    assert resumed["scores"]["inception_score"] == pytest.approx(resumed["real"]["inception_score"])


ERRORS = [
    (["--fakes", "{dir}/none", "--reference", "{dir}/folder"], "found nothing there"),
    (["--fakes", "{dir}/notes.txt", "--reference", "{dir}/folder"], "found the file notes.txt"),
    (["--fakes", "{dir}/empty", "--reference", "{dir}/folder"], "expected images such as .png"),
    (["--fakes", "{dir}/one.npz", "--reference", "{dir}/folder"], "at least 2 images, found 1"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/foreign.npz"], "does not record the classifier"),
    (
        ["--fakes", "{dir}/folder", "--reference", "{dir}/wide.npz", "--reference_classifier", "x"],
        "expected equal numbers of features, found 2048",
    ),
    (["--fakes", "{dir}/folder", "--reference", "tfds:digits:nope"], "no split 'nope'"),
    (["--fakes", "{dir}/folder", "--reference", "tfds:nope"], "no data set 'nope'"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/folder", "--truncation", "1"], "--truncation applies to a run"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/folder", "--resolution", "9"], "applies to a data set"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/folder", "--resize", "cubic"], "bilinear or bicubic"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/folder", "--neighbors_samples", "-1"], "not be negative"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/folder", "--fakes_classifier", "x"], "holds images"),
    (["--fakes", "{dir}/folder", "--reference", "{dir}/folder", "--out", "{dir}/no/x.json"], "there is no folder"),
    (["--reference", "{dir}/folder"], "expected --fakes, --save_statistics or both"),
    (
        ["--reference", "{dir}/foreign.npz", "--reference_classifier", "x", "--save_statistics", "{dir}/s.npz"],
        "holds statistics already",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_wrong_input_is_one_line_and_exit_code_2(arguments, message, files, classifier_path, digits_dir, capsys):
    before = sorted(files.rglob("*"))
    common = ["--classifier", classifier_path, "--data_dir", digits_dir]
    assert main(["score", *(argument.format(dir=files) for argument in arguments), *common]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("hamgan score: error: ")]
    assert message in line
    assert sorted(files.rglob("*")) == before


def test_the_command_prints_a_table_and_writes_the_card(files, classifier_path, tmp_path, capsys):
    out = tmp_path / "score.json"
    arguments = ["score", "--fakes", str(files / "images.npz"), "--reference", str(files / "folder"), "--out", str(out)]
    options = ["--classifier", classifier_path, "--cache_dir", str(tmp_path / "cache"), "--neighbors_samples", "30"]
    assert main([*arguments, *options]) == 0
    header, fakes, reference, _ = capsys.readouterr().out.splitlines()
    assert header.split() == ["images", "FID", "IS", "KID", "precision", "recall", "density", "coverage"]
    assert fakes.split()[:2] == ["fakes", "60"]
    assert re.fullmatch(r"reference +60 +- +\d\.\d\d( +-){5}", reference.strip())
    result = json.loads(out.read_text())
    assert result["card"]["neighbors_samples"] == 30
    assert result["provenance"]["fakes"]["source"] == str(files / "images.npz")
