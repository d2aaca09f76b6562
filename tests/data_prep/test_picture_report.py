import base64
import io
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_prep.picture_form import SquarePictures
from data_prep.picture_report import MAX_CLASSES, PICTURES_PER_CLASS, class_table, picture_grid

NUM_CLASSES = MAX_CLASSES + 20


@pytest.fixture
def records(tmp_path):
    """Twelve pictures of class 3, one of each other even class, all of the brightness of their label."""
    labels = [3] * 12 + list(range(0, NUM_CLASSES, 2))
    form = SquarePictures("flowers", 32)
    paths = [str(tmp_path / "first"), str(tmp_path / "second")]
    for path, part in zip(paths, (labels[:5], labels[5:]), strict=True):
        with tf.io.TFRecordWriter(path) as writer:
            for label in part:
                writer.write(form.record(b"x.png", label, Image.new("RGB", (40, 40), (label, label, label))))
    return paths, np.bincount(labels, minlength=NUM_CLASSES)


def test_grid_shows_the_first_pictures_of_the_first_classes(records):
    paths, counts = records
    names = [f"<{label}>" for label in range(NUM_CLASSES)]
    page = picture_grid(names, paths, counts)
    strips = {
        int(label): np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L")).astype(int)
        for data, label in re.findall(r'base64,([^"]+)" alt="&lt;(\d+)&gt;"', page)
    }
    assert strips.keys() == {3, *range(0, MAX_CLASSES, 2)}
    for label, strip in strips.items():
        count = PICTURES_PER_CLASS if label == 3 else 1
        shown = strip[:, : count * strip.shape[0]]
        assert np.abs(shown[:, :-8] - label).max() <= 4
        assert count == PICTURES_PER_CLASS or strip[:, -8:].min() > 250
    assert f"The first {MAX_CLASSES} of {NUM_CLASSES} classes." in page


def test_grid_without_records_is_empty():
    assert picture_grid(["a"], [], np.zeros(1, int)) == ""


def test_table_has_a_row_for_each_class():
    table = class_table(["a & b", "c"], {"train": np.array([1200, 3]), "validation": np.array([0, 1])})
    assert "<td>0</td><td>a &amp; b</td><td>1,200</td><td>0</td>" in table
    assert "<td>1</td><td>c</td><td>3</td><td>1</td>" in table
