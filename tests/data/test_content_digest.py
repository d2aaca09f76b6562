import concurrent.futures
import hashlib
import json
import os
import struct

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from hamgan.config import DataConfig
from hamgan.data import content_digest
from hamgan.data.content_digest import cached_content_sha256, content_sha256
from hamgan.data.dataset import ClassificationDataset
from hamgan.data.records import RecordPart


class Stamps(tfds.core.GeneratorBasedBuilder):
    """Twelve small images of brightness ``values``; ``remark`` is a feature besides image and label."""

    VERSION = tfds.core.Version("1.0.0")
    values = tuple(range(0, 240, 20))
    remark = "first"

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 3)),
                    "label": tfds.features.ClassLabel(num_classes=3),
                    "remark": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, _dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index, value in enumerate(self.values):
            image = np.full((8, 8, 3), value, np.uint8)
            yield index, {"image": image, "label": index % 3, "remark": self.remark}


def _prepared(path, *, num_shards=1, values=Stamps.values, remark="first"):
    builder = Stamps(data_dir=str(path))
    builder.values, builder.remark = values, remark
    options = tfds.download.DownloadConfig(num_shards=num_shards)
    builder.download_and_prepare(download_config=options, file_format="tfrecord")
    return ClassificationDataset(DataConfig("stamps", str(path), "train", "train"))


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def _example(image, label):
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _write(path, examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image, label in examples:
            writer.write(_example(image, label))


def test_digest_covers_image_lengths_images_and_labels_in_stored_order(tmp_path):
    examples = [(b"first", 3), (b"", -1), (b"third one", 2**40), (b"4", 0)]
    expected = hashlib.sha256()
    for image, label in examples[1:]:
        expected.update(struct.pack("<Q", len(image)) + image + struct.pack("<q", label))
    _write(tmp_path / "a", examples[:3])
    _write(tmp_path / "b", examples[3:])
    parts = [RecordPart(str(tmp_path / "a"), 1, 2), RecordPart(str(tmp_path / "b"), 0, 1)]
    assert content_sha256(parts, "image", "label") == expected.hexdigest()


def test_images_without_labels_have_the_digest_of_a_single_class(tmp_path):
    _write(tmp_path / "labelled", [(b"first", 0), (b"second", 0)])
    feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"first"]))}
    with tf.io.TFRecordWriter(str(tmp_path / "unlabelled")) as writer:
        for image in (b"first", b"second"):
            feature["image"].bytes_list.value[:] = [image]
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    labelled, unlabelled = ([RecordPart(str(tmp_path / name), 0, 2)] for name in ("labelled", "unlabelled"))
    assert content_sha256(unlabelled, "image", None) == content_sha256(labelled, "image", "label")


def test_identity_does_not_depend_on_folder_number_of_files_or_other_features(tmp_path, cache):
    one = _prepared(tmp_path / "one")
    other = _prepared(tmp_path / "deep" / "er", num_shards=3, remark="prepared on another day, in another folder")
    for split, count in (("train", None), ("train", 7), ("train[3:]", None)):
        assert one.identity(split, count, cache) == other.identity(split, count, cache)


def test_identity_differs_for_other_images_under_the_same_name(tmp_path, cache):
    values = list(Stamps.values)
    values[2], values[5] = values[5], values[2]
    one, other = _prepared(tmp_path / "one"), _prepared(tmp_path / "other", values=values)
    assert [info.num_bytes for info in one.builder.info.splits.values()] == [
        info.num_bytes for info in other.builder.info.splits.values()
    ]
    first, second = one.identity("train", cache_dir=cache), other.identity("train", cache_dir=cache)
    assert first["sha256"] != second["sha256"]
    assert {**first, "sha256": None} == {**second, "sha256": None}


def test_identity_covers_only_the_examples_in_use(tmp_path, cache):
    dataset = _prepared(tmp_path / "one", num_shards=3)
    digests = {count: dataset.identity("train", count, cache)["sha256"] for count in (1, 4, 5, 11, 12)}
    assert len(set(digests.values())) == 5
    for count in (None, 13, 10**9):
        assert dataset.identity("train", count, cache)["sha256"] == digests[12]
    assert dataset.identity("train[:5]", cache_dir=cache)["sha256"] == digests[5]


def test_provenance_describes_folder_files_and_preparation(tmp_path):
    one, other = _prepared(tmp_path / "one"), _prepared(tmp_path / "other", num_shards=3)
    provenance = one.provenance("train")
    assert provenance["folder"] == str(tmp_path / "one" / "stamps" / "1.0.0")
    assert provenance["record_files"] == 1
    assert provenance["preparation"] is None
    assert other.provenance("train")["record_files"] == 3
    # Earlier versions used this digest as the identity.
    described = [[["stamps-train.tfrecord-00000-of-00001", 0, 12]], [one.builder.info.splits["train"].num_bytes], None]
    expected = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    assert provenance["described_sha256"] == expected


@pytest.fixture
def parts(tmp_path):
    _write(tmp_path / "records", [(b"image", 1), (b"other", 2)])
    return [RecordPart(str(tmp_path / "records"), 0, 2)]


def _computed(monkeypatch):
    """Returns a list that grows by one entry whenever a digest is computed."""
    calls = []
    compute = content_digest.content_sha256

    def counted(*arguments):
        calls.append(arguments)
        return compute(*arguments)

    monkeypatch.setattr(content_digest, "content_sha256", counted)
    return calls


def test_digest_is_computed_once(parts, cache, monkeypatch):
    calls = _computed(monkeypatch)
    first = cached_content_sha256(parts, "image", "label", cache)
    assert cached_content_sha256(parts, "image", "label", cache) == first
    assert len(calls) == 1
    assert cached_content_sha256([parts[0]._replace(take=1)], "image", "label", cache) != first
    assert len(calls) == 2


def test_digest_is_recomputed_when_a_file_changes(parts, cache):
    path = parts[0].path
    first = cached_content_sha256(parts, "image", "label", cache)
    before = os.stat(path)
    _write(path, [(b"image", 1), (b"0ther", 2)])
    # Same size, modified one nanosecond later.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert os.stat(path).st_size == before.st_size
    assert cached_content_sha256(parts, "image", "label", cache) != first


@pytest.mark.parametrize("damage", [b"", b"abc", b"\xff" * 64, b"g" * 64 + b"\n", b"0" * 63 + b"\n"])
def test_damaged_cache_entry_is_replaced(parts, cache, damage):
    expected = cached_content_sha256(parts, "image", "label", cache)
    ((folder, _, (name,)),) = [entry for entry in os.walk(cache) if entry[2]]
    with open(os.path.join(folder, name), "wb") as file:
        file.write(damage)
    assert cached_content_sha256(parts, "image", "label", cache) == expected
    with open(os.path.join(folder, name)) as file:
        assert file.read() == f"{expected}\n"


def test_unwritable_cache_is_ignored(parts, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    expected = content_sha256(parts, "image", "label")
    assert cached_content_sha256(parts, "image", "label", str(tmp_path / "file")) == expected


def test_concurrent_computations_of_the_same_digest_agree(parts, cache):
    expected = content_sha256(parts, "image", "label")
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        digests = threads.map(lambda _: cached_content_sha256(parts, "image", "label", cache), range(16))
        assert set(digests) == {expected}
    assert cached_content_sha256(parts, "image", "label", cache) == expected


def test_remote_cache_is_ignored(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cached_content_sha256(parts, "image", "label", "gs://bucket/cache") == content_sha256(
        parts, "image", "label"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_cache_holds_nothing_but_the_digest(parts, cache):
    cached_content_sha256(parts, "image", "label", cache)
    ((_, _, names),) = [entry for entry in os.walk(cache) if entry[2]]
    assert [os.path.splitext(name)[1] for name in names] == [".sha256"]
