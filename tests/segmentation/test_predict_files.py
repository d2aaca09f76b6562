"""Predictions of pictures in files."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image
from tiny_network import CLASS_NAMES, picture, tiny_hamnet

from hamgan.errors import FailedError, UserError
from hamgan.segmentation.data.palette import overlay, voc_palette
from hamgan.segmentation.prediction.inference import InferenceSettings, MaskPredictor
from hamgan.segmentation.prediction.predict import network_sha256, predict_files
from hamgan.segmentation.prediction.voc_submission import MASKS_FOLDER


@pytest.fixture(scope="module")
def network():
    return tiny_hamnet()


@pytest.fixture(scope="module")
def predictor(network):
    return MaskPredictor(network)


@pytest.fixture(scope="module")
def masks_of(predictor):
    return lambda image: predictor(image[np.newaxis])[0]


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(picture(33, 41, 1)).save(folder / "a.png")
    Image.fromarray(picture(25, 33, 2)).save(folder / "deep" / "b.bmp")
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(predictor, source, out, **arguments):
    return predict_files(predictor, str(source), str(out), class_names=CLASS_NAMES, **arguments)


def times(folder):
    return {path: os.stat(path).st_mtime_ns for path in folder.rglob("*.*") if path.name != "predictions.json"}


def test_a_folder_becomes_masks_overlays_and_pairs(predictor, masks_of, photographs, tmp_path):
    out = tmp_path / "out"
    result = run(predictor, photographs, out, kinds=["masks", "overlays", "pairs"])
    assert (result.total, result.made, result.skipped) == (2, 2, {})
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert files == [
        *("masks/a.png", "masks/deep/b.png", "overlays/a.jpg", "overlays/deep/b.jpg"),
        *("pairs/a.jpg", "pairs/deep/b.jpg", "predictions.json"),
    ]
    image = picture(33, 41, 1)
    expected = masks_of(image)
    with Image.open(out / "masks" / "a.png") as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), expected)
        np.testing.assert_array_equal(mask.convert("RGB"), voc_palette()[expected])
    colored = np.asarray(Image.open(out / "overlays" / "a.jpg")).astype(int)
    assert np.abs(colored - overlay(image, expected)).mean() < 10  # JPEG
    pair = np.asarray(Image.open(out / "pairs" / "a.jpg")).astype(int)
    assert pair.shape == (33, 2 * 41 + 6, 3)
    assert np.abs(pair[:, :41] - image).mean() < 10


def test_a_command_resumes(predictor, photographs, tmp_path):
    out = tmp_path / "out"
    run(predictor, photographs, out)
    before = times(out)
    (out / "masks" / "deep" / "b.png").unlink()
    result = run(predictor, photographs, out)
    assert (result.total, result.made) == (2, 1)
    after = times(out)
    assert set(before) == set(after)
    assert [path.stem for path in before if before[path] != after[path]] == ["b", "b"]
    # A picture that changed is predicted again.
    Image.fromarray(picture(33, 41, 5)).save(photographs / "a.png")
    assert run(predictor, photographs, out).made == 1


def test_other_settings_need_another_folder(network, predictor, photographs, tmp_path):
    out = tmp_path / "out"
    run(predictor, photographs, out)
    before = times(out)
    with pytest.raises(UserError, match="other settings: expected settings num_steps=2, found num_steps=None;"):
        run(MaskPredictor(network, InferenceSettings(num_steps=2)), photographs, out)
    with pytest.raises(UserError, match="expected settings short_side=64, found short_side=None;"):
        run(MaskPredictor(network, InferenceSettings(short_side=64)), photographs, out)
    bias = network.head.classifier.bias
    trained = bias.numpy()
    bias.assign(trained + 1)
    with pytest.raises(UserError, match="holds predictions with other settings: expected network"):
        run(predictor, photographs, out)
    bias.assign(trained)
    assert times(out) == before
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    with pytest.raises(UserError, match="expected a new folder or one with predictions"):
        run(predictor, photographs, tmp_path / "taken")


def test_networks_are_recognised_by_their_weights(network):
    digest = network_sha256(network)
    assert digest == network_sha256(tiny_hamnet())
    assert digest != network_sha256(tiny_hamnet(rank=2))


def test_pictures_are_upright(predictor, masks_of, tmp_path):
    image = picture(41, 25, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotate by 90 degrees clockwise to see it upright.
    Image.fromarray(np.rot90(image)).save(tmp_path / "turned.png", exif=exif)
    result = run(predictor, tmp_path / "turned.png", tmp_path / "out")
    assert result.made == 1
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "masks" / "turned.png")), masks_of(image))


def test_broken_files_are_skipped_and_reported(predictor, photographs, tmp_path, caplog):
    buffer = io.BytesIO()
    Image.fromarray(picture(40, 40)).save(buffer, "PNG")
    (photographs / "cut.png").write_bytes(buffer.getvalue()[:60])
    (photographs / "empty.jpg").touch()
    out = tmp_path / "out"
    result = run(predictor, photographs, out)
    assert (result.total, result.made) == (2, 2)
    assert sorted(map(os.path.basename, result.skipped)) == ["cut.png", "empty.jpg"]
    assert "empty.jpg cannot be read as a picture (not a picture): skipped" in caplog.text
    assert json.loads((out / "predictions.json").read_text())["skipped"] == result.skipped
    with pytest.raises(UserError, match=r"expected pictures, found 1 broken file, such as .*empty.jpg"):
        run(predictor, photographs / "empty.jpg", tmp_path / "none")


def test_equal_names_keep_their_endings(predictor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.bmp", "b.png"):
        Image.fromarray(picture(17, 17)).save(folder / name)
    run(predictor, folder, tmp_path / "out", kinds=["masks"])
    assert sorted(os.listdir(tmp_path / "out" / "masks")) == ["a.bmp.png", "a.png.png", "b.png"]


def test_submission_to_the_server(predictor, masks_of, tmp_path):
    folder = tmp_path / "JPEGImages"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(picture(25, 33, index)).save(folder / f"2008_00000{index}.png")
    (tmp_path / "test.txt").write_text("2008_000000\n2008_000002\n")
    out = tmp_path / "results.tar"
    arguments = {"names_file": str(tmp_path / "test.txt")}
    assert run(predictor, folder, out, **arguments).total == 2
    with tarfile.open(out) as archive:
        assert archive.getnames() == [f"{MASKS_FOLDER}/2008_000000.png", f"{MASKS_FOLDER}/2008_000002.png"]
        mask = Image.open(io.BytesIO(archive.extractfile(f"{MASKS_FOLDER}/2008_000002.png").read()))
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), masks_of(picture(25, 33, 2)))
    assert sorted(os.listdir(tmp_path)) == ["JPEGImages", "results.tar", "test.txt"]
    with pytest.raises(UserError, match="expected the name of a new tar, found that"):
        run(predictor, folder, out, **arguments)
    first = out.read_bytes()
    out.unlink()
    run(predictor, folder, out, **arguments)
    assert out.read_bytes() == first


def test_an_incomplete_submission_is_not_written(predictor, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(picture(17, 17)).save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"?")
    out = tmp_path / "results.tar"
    with pytest.raises(FailedError, match=r"results.tar would lack 1 picture, such as .*b.jpg"):
        run(predictor, folder, out)
    assert not out.exists()
    Image.fromarray(picture(17, 17)).save(folder / "b.jpg")
    result = run(predictor, folder, out)
    assert (result.total, result.made) == (2, 1)


def test_mistakes_are_explained(predictor, photographs, tmp_path):
    cases = [
        (tmp_path / "nowhere", tmp_path / "out", {}, "expected a picture or a folder of pictures, found nothing"),
        (photographs, photographs / "out", {}, "expected results outside of the pictures' folder"),
        (photographs, tmp_path / "out", {"kinds": ["mask"]}, "found 'mask'; did you mean 'masks'?"),
        (photographs, tmp_path / "out", {"kinds": []}, "kinds of results are masks, overlays, pairs, found none"),
        (photographs, tmp_path / "out.tar", {}, "expected all pictures of a submission in one folder, found deep/b"),
    ]
    for source, out, arguments, message in cases:
        with pytest.raises(UserError) as error:
            run(predictor, source, out, **arguments)
        assert message in str(error.value)
    (tmp_path / "list.txt").write_text("a\nc\n")
    with pytest.raises(UserError, match="found 1 missing, the first is c; check both"):
        run(predictor, photographs, tmp_path / "out", names_file=str(tmp_path / "list.txt"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="expected a folder, found the file"):
        run(predictor, photographs, tmp_path / "file")
    assert not (tmp_path / "out").exists()
