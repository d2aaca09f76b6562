import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.cli.main import main
from hamgan.config import DataConfig
from hamgan.errors import UserError
from hamgan.evaluation.small_classifier import check_free, prepare_digits_classifier, train_small_classifier


@pytest.fixture
def data_dir(digits_dir, tmp_path):
    """Returns a copy of the digits that tests may damage."""
    shutil.copytree(f"{digits_dir}/digits", tmp_path / "data" / "digits")
    return tmp_path / "data"


def _relabel(data_dir, split, number, label):
    (file,) = data_dir.rglob(f"*-{split}.tfrecord-*")
    records = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    records[number].features.feature["label"].int64_list.value[:] = [label]
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record.SerializeToString())


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_invalid_label_is_a_one_line_error_and_nothing_is_written(data_dir, tmp_path, split):
    _relabel(data_dir, split, 300, 10)
    output = tmp_path / "classifier"
    with pytest.raises(UserError, match=f"^data set digits, split {split}: found label 10; expected 0 to 9"):
        train_small_classifier(DataConfig("digits", str(data_dir)), resolution=32, output=str(output), steps=30)
    assert not output.exists()


def test_a_single_class_is_rejected(tmp_path):
    class Unlabelled(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Two images without labels."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"x": tfds.features.Image()})
            )

        def _split_generators(self, _dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index in range(2):
                yield index, {"x": np.zeros((8, 8, 3), np.uint8)}

    Unlabelled(data_dir=str(tmp_path)).download_and_prepare(file_format="tfrecord")
    config = DataConfig("unlabelled", str(tmp_path), "train", "train")
    with pytest.raises(UserError, match="'unlabelled' has a single class, a classifier expects at least two"):
        train_small_classifier(config, resolution=32, output=str(tmp_path / "classifier"))


def test_an_existing_or_unwritable_folder_is_rejected(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"file exists already; choose another --out, or remove it"):
        check_free(str(tmp_path / "file"), "--out")
    for output in ("file/classifier", "file/deep/classifier/"):
        with pytest.raises(UserError, match=r"cannot write the classifier .*file/.*; choose another --out"):
            check_free(str(tmp_path / output), "--out")
    check_free(str(tmp_path / "not" / "yet" / "there"), "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_unwritable_folder_is_reported_before_the_digits_are_prepared(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "half" / "digits_classifier").mkdir(parents=True)
    for arguments, message in (
        (["--data_dir", "{}/file"], "cannot write the classifier"),
        (["--data_dir", "{}/data", "--classifier", "{}/file/x"], "choose another --classifier"),
        (["--data_dir", "{}/half"], "digits_classifier exists already; choose another --data_dir"),
    ):
        given = [argument.format(tmp_path) for argument in arguments]
        assert main(["prepare", "digits", *given]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("digits"))


@pytest.mark.parametrize("name", ["dataset_info.json", "digits-train.tfrecord-00000-of-00001"])
def test_digits_with_a_missing_file_do_not_count_as_prepared(data_dir, capsys, name):
    (file,) = data_dir.rglob(name)
    file.unlink()
    assert main(["prepare", "digits", "--data_dir", str(data_dir)]) == 2
    assert str(file) in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_classifier_folder_may_have_any_name_and_is_kept(tiny, tmp_path, data_dir):
    output = tmp_path / "class[1]*?"
    train_small_classifier(tiny.data, resolution=32, output=f"{output}/", steps=1)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    prepare_digits_classifier(str(data_dir), str(output))
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    loaded = tf.saved_model.load(str(output.rename(tmp_path / "plain")))
    outputs = loaded.signatures["serving_default"](tf.zeros((2, 32, 32, 3)))
    assert {name: output.shape for name, output in outputs.items()} == {"logits": (2, 10), "pool_3": (2, 64)}
