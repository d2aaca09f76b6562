"""Export of segmentation networks."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from page_blocks import blocks
from PIL import Image
from tiny_network import CLASS_NAMES, picture, tiny_hamnet

from hamgan.cli.hamnet import main
from hamgan.errors import FailedError, UserError
from hamgan.segmentation.export import exporter
from hamgan.segmentation.export.formats import KerasFormat
from hamgan.segmentation.export.network_format import ExportedNetwork
from hamgan.segmentation.export.reference import Reference
from hamgan.segmentation.prediction.inference import MaskPredictor
from hamgan.segmentation.trained_network import NetworkInMemory, load_network_file

SIZE = (33, 41)


@pytest.fixture(scope="module")
def network():
    return tiny_hamnet()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "model"
    files = NetworkInMemory(network, CLASS_NAMES).export(str(out), formats=["savedmodel", "keras"], size=SIZE)
    return out, files


@pytest.mark.slow
def test_files_agree_with_the_network(exported, network):
    out, files = exported
    assert [file.file for file in files] == ["saved_model", "network.keras"]
    assert all(file.difference <= 1e-5 and file.seconds_per_image[1] > 0 for file in files)
    assert sorted(os.listdir(out)) == ["README.md", "class_names.json", "export.json", "network.keras", "saved_model"]
    assert os.listdir(out.parent) == ["model"]
    assert json.loads((out / "class_names.json").read_text()) == CLASS_NAMES
    model = tf.saved_model.load(str(out / "saved_model"))
    images = np.stack([picture(30, 21, 1), picture(30, 21, 2)])
    np.testing.assert_array_equal(model.predict(images=images)["masks"], MaskPredictor(network)(images))
    loaded = load_network_file(str(out / "network.keras"))
    assert loaded.class_names == ["0", "1", "2"]
    np.testing.assert_array_equal(loaded.predict(images), MaskPredictor(network)(images))


@pytest.mark.slow
def test_code_on_the_page_runs(exported, tmp_path):
    out, _ = exported
    Image.fromarray(picture(30, 21)).save(out / "picture.jpg")
    try:
        (saved_model, keras_file) = blocks(out / "README.md", "python")
        program = (
            f"{saved_model}\nprint(masks.shape, masks.dtype)\n" + "import sys\nassert 'hamgan' not in sys.modules\n"
        )
        for code in (program, f"{keras_file}\nprint(masks.shape)\n"):
            done = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "(1, 30, 21)" in done.stdout
    finally:
        os.remove(out / "picture.jpg")


@pytest.mark.slow
def test_all_formats_by_the_command(network, tmp_path, capsys):
    network.save(tmp_path / "tiny.keras")
    out = tmp_path / "model"
    assert main(["export", "--run", str(tmp_path / "tiny.keras"), "--out", str(out), "--size", "33x41"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["format", "SavedModel", "Keras", "TFLite", "ONNX", "Network"]
    Image.fromarray(picture(30, 21)).save(out / "picture.jpg")
    for code in blocks(out / "README.md", "python")[2:]:
        names = {}
        exec(code.replace('"network', f'"{out}/network').replace('"picture', f'"{out}/picture'), names)
        assert names["masks"].shape == (1, 33, 41)


@pytest.mark.slow
def test_random_bases_are_fixed(tmp_path):
    network = tiny_hamnet(evaluation_bases="random")
    trained = NetworkInMemory(network, CLASS_NAMES)
    (file,) = trained.export(str(tmp_path / "model"), formats=["keras"], size=SIZE)
    assert file.difference == 0
    loaded = load_network_file(str(tmp_path / "model" / "network.keras"))
    images = picture(33, 33)[np.newaxis]
    np.testing.assert_array_equal(loaded.predict(images), loaded.predict(images))


class Wrong(KerasFormat):
    """A format whose logits differ from those of the network by ``error``."""

    def __init__(self, error):
        self.error = error

    def write(self, network, path):
        self.model = network.model
        with open(path, "wb") as file:
            file.write(b"model")

    def load(self, path):
        return lambda images: self.model(images, training=False).numpy() + self.error


@pytest.mark.parametrize("error", [0.01, np.nan])
def test_nothing_is_written_if_a_file_differs(network, tmp_path, monkeypatch, error):
    monkeypatch.setitem(exporter.FORMATS, "keras", Wrong(error))
    with pytest.raises(FailedError, match="Keras: logits differ from those of the Keras model by"):
        NetworkInMemory(network).export(str(tmp_path / "model"), formats=["keras"], size=SIZE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("frequency", "low", "high"), [(1, 1e-4, 1e-4), (1000, 1e-3, 9e-3), (1e6, 1e-2, 1e-2)])
def test_tolerance_grows_where_the_network_amplifies_rounding(frequency, low, high):
    def model(images, training):
        return tf.sin(frequency * tf.convert_to_tensor(images))

    model.channels = 3
    reference = Reference(ExportedNetwork(model, 5, 7))
    assert low <= reference.tolerance <= high
    assert reference.difference(lambda image: model(image, training=False).numpy() + 0.2) == pytest.approx(0.2)


def test_mistakes_are_explained(network, tmp_path):
    trained, out = NetworkInMemory(network), str(tmp_path / "model")
    with pytest.raises(UserError, match="found 'tflight'; did you mean 'tflite'"):
        trained.export(out, formats=["tflight"])
    with pytest.raises(UserError, match="expected a positive height and width, found 0x5"):
        trained.export(out, size=(0, 5))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").touch()
    with pytest.raises(UserError, match="expected a new or an empty folder, found other files"):
        trained.export(out)
