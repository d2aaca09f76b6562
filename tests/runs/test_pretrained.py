import numpy as np
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import hamgan
from hamgan.runs.pretrained import find_run

PIXELS = 8


def test_the_digits_of_the_package_show_their_classes():
    run = hamgan.load("digits")
    images = run.sample(per_class=10).mean(axis=-1)
    size = len(images[0]) // PIXELS
    small = images.reshape(-1, PIXELS, size, PIXELS, size).mean(axis=(2, 4))
    digits = load_digits()
    scale = 16 / 255
    classifier = KNeighborsClassifier().fit(digits.data, digits.target)
    predicted = classifier.predict(small.reshape(len(small), -1) * scale)
    assert np.mean(predicted == np.repeat(np.arange(10), 10)) > 0.9


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_run("digits") != "digits"
    (tmp_path / "digits").mkdir()
    assert find_run("digits") == "digits"
