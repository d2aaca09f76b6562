import dataclasses
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.hashing import Hasher
from tensorflow_datasets.core.utils.shard_utils import ShardConfig

from data_prep import shards
from data_prep.ilsvrc import synsets
from data_prep.imagenet import PhotographConversion
from data_prep.imagenet_forms import FORMS
from data_prep.imagenet_sources import IMAGE, find_containers, find_split, list_container, merge_listings
from data_prep.shards import Shard, Target, fingerprint, finished_result, plan_shards, write_shard

CONVERSION = PhotographConversion()


@pytest.fixture(scope="module")
def listing(fakes):
    containers, _ = find_containers(find_split(str(fakes / "tars"), "train"), "train")
    return merge_listings([list_container(container, "train") for container in containers])


@pytest.fixture
def five_shards(monkeypatch):
    monkeypatch.setattr(ShardConfig, "calculate_number_shards", lambda *_: 5)


@pytest.fixture
def target(tmp_path):
    (tmp_path / shards.RESULTS_FOLDER).mkdir()
    return Target(FORMS["original"], str(tmp_path))


def _names(planned):
    return [name.decode() for shard in planned for name in shard.images["name"]]


def test_records_and_their_order_match_the_stock_builder(fakes, listing, target, tmp_path_factory, five_shards):
    manual = tmp_path_factory.mktemp("manual")
    for split in ("train", "validation"):
        shutil.copy(find_split(str(fakes / "tars"), split), manual)
    stock = tfds.builder("imagenet2012", data_dir=str(tmp_path_factory.mktemp("stock")))
    stock.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=str(manual), num_shards=5), file_format="tfrecord"
    )
    planned, problems = plan_shards("train", listing, CONVERSION)
    assert not problems
    decoders = {"image": tfds.decode.SkipDecoding()}
    read_config = tfds.ReadConfig(interleave_cycle_length=1)
    expected = stock.as_dataset(split="train", decoders=decoders, read_config=read_config).as_numpy_iterator()
    expected = {example["file_name"]: example for example in expected}
    assert list(expected) == [name.encode() for name in _names(planned)]
    parse = stock.info.features.deserialize_example
    prepared = 0
    for shard in planned:
        write_shard(shard, [target])
        for record in tf.data.TFRecordDataset(target.records_path(shard)):
            example = parse(record, decoders=decoders)
            stock_example = expected[example["file_name"].numpy()]
            # The stock builder repairs CMYK and PNG files by name, and the fake ones have other names.
            if not example["file_name"].numpy().startswith(b"n01440764_9000"):
                assert example["image"].numpy() == stock_example["image"]
            assert example["label"].numpy() == stock_example["label"]
            prepared += 1
    assert prepared == len(expected) - 1  # all but the truncated one


def test_number_of_files_matches_the_stock_builder(listing):
    images = np.repeat(listing.images[:1], 1500)
    images["name"] = [f"n{index}".encode() for index in range(len(images))]
    images["size"] = 110_000
    planned, _ = plan_shards("train", listing._replace(images=images), CONVERSION)
    size = 1500 * (110_000 + 64 + 5)
    assert len(planned) == ShardConfig.calculate_number_shards(size, 1500) == 2
    assert [shard.name for shard in planned] == ["train-00000-of-00002", "train-00001-of-00002"]


def test_subsets_of_each_class_are_nested(listing):
    few, more = (_names(plan_shards("train", listing, CONVERSION, per_class=count)[0]) for count in (2, 4))
    assert len(few) == 2 * 4
    assert len(more) == 4 * 4
    assert set(few) < set(more)
    assert more == [name for name in _names(plan_shards("train", listing, CONVERSION)[0]) if name in set(more)]


def test_first_of_several_images_with_the_same_name_is_kept(listing):
    twice = listing._replace(images=np.concatenate([listing.images, listing.images[2:4]]))
    planned, problems = plan_shards("train", twice, CONVERSION)
    assert sorted(_names(planned)) == sorted(name.decode() for name in listing.images["name"])
    assert [problem.kind for problem in problems] == ["duplicate_name"] * 2


def test_rewriting_a_shard_gives_the_same_bytes(listing, target, five_shards):
    (shard, *_), _ = plan_shards("train", listing, CONVERSION)
    contents = []
    for _ in range(2):
        write_shard(shard, [target])
        with open(target.records_path(shard), "rb") as file:
            contents.append(file.read())
        tf.io.gfile.remove(target.records_path(shard))
    assert contents[0] == contents[1]


def test_finished_shard_is_not_rewritten(listing, target, monkeypatch, five_shards):
    (shard, *_), _ = plan_shards("train", listing, CONVERSION)
    assert finished_result(shard, target) is None
    write_shard(shard, [target])
    result = finished_result(shard, target)
    assert result is not None
    assert result.num_examples + sum(problem.kind == "damaged" for problem in result.problems) == len(shard.images)
    monkeypatch.setattr(shards, "read_images", lambda *_: pytest.fail("read again"))
    counted = []
    write_shard(shard, [target], counted.append)
    assert counted == [len(shard.images)]


def _changed(shard: Shard, field: str) -> Shard:
    images = shard.images.copy()
    images[field][0] += 1
    return dataclasses.replace(shard, images=images)


def test_shard_of_other_images_is_unfinished(listing, target, five_shards):
    (shard, *_), _ = plan_shards("train", listing, CONVERSION)
    write_shard(shard, [target])
    for field in ("label", "size", "modified", "offset"):
        assert finished_result(_changed(shard, field), target) is None
    assert finished_result(shard, target._replace(form=FORMS["64"])) is None


def test_shards_finished_by_earlier_versions_are_kept(listing, target, five_shards):
    (shard, *_), _ = plan_shards("train", listing, CONVERSION)
    write_shard(shard, [target])
    path = pathlib.Path(target.result_path(shard))
    result = json.loads(path.read_text())
    del result["per_class"]
    path.write_text(json.dumps(result))
    assert finished_result(shard, target) is not None


def test_truncated_shard_is_unfinished(listing, target, five_shards):
    (shard, *_), _ = plan_shards("train", listing, CONVERSION)
    write_shard(shard, [target])
    with open(target.records_path(shard), "rb+") as file:
        file.truncate(100)
    assert finished_result(shard, target) is None
    with open(target.result_path(shard), "w") as file:
        file.write("{")
    assert finished_result(shard, target) is None


def test_few_unreadable_images_are_skipped_but_many_are_an_error(listing, target, monkeypatch):
    ((shard,), _) = plan_shards("train", listing, CONVERSION)
    read = shards.read_images

    def failing(count):
        def read_images(images, containers):
            for index, content in enumerate(read(images, containers)):
                yield OSError(5, "Input/output error") if index < count else content

        return read_images

    monkeypatch.setattr(shards, "read_images", failing(11))
    with pytest.raises(OSError, match=r"11 images of train-00000-of-00001 cannot be read.*Input/output error"):
        write_shard(shard, [target])
    assert finished_result(shard, target) is None
    monkeypatch.setattr(shards, "read_images", failing(10))
    write_shard(shard, [target])
    result = finished_result(shard, target)
    assert result is not None
    assert sum(problem.kind == "unreadable" for problem in result.problems) == 10


def test_error_while_writing_leaves_no_files(listing, target, monkeypatch, five_shards, tmp_path):
    (shard, *_), _ = plan_shards("train", listing, CONVERSION)

    def fail_at_the_third(conversion, image, contents, calls=[]):  # noqa: B006
        calls.append(contents)
        if len(calls) == 3:
            raise OSError("disk failed")
        return contents[0], None, ""

    monkeypatch.setattr(PhotographConversion, "convert", fail_at_the_third)
    with pytest.raises(OSError, match="disk failed"):
        write_shard(shard, [target])
    assert [path.name for path in tmp_path.iterdir()] == [shards.RESULTS_FOLDER]
    assert not list((tmp_path / shards.RESULTS_FOLDER).iterdir())


def _with_names(listing, names_and_labels):
    images = np.repeat(listing.images[:1], len(names_and_labels))
    images["name"], images["label"] = zip(*names_and_labels, strict=True)
    images["offset"] = np.arange(len(images)) * 1024
    return listing._replace(images=images)


def _names_and_labels(planned):
    return [(image["name"].decode(), int(image["label"])) for shard in planned for image in shard.images]


def test_same_name_in_several_classes_is_not_a_duplicate(listing):
    """For example ``a/0000.jpg`` and ``b/0000.jpg``."""
    everything = [(f"{number:04d}.jpg", label) for label in (0, 5, 9) for number in range(20)]
    planned, problems = plan_shards("train", _with_names(listing, everything), CONVERSION)
    assert not problems
    order = _names_and_labels(planned)
    assert sorted(order) == sorted(everything)
    # The order is shuffled, and does not depend on the order of listing.
    assert len({label for _, label in order[:6]}) > 1
    assert order != sorted(order)
    assert _names_and_labels(plan_shards("train", _with_names(listing, everything[::-1]), CONVERSION)[0]) == order


def test_duplicate_name_within_a_class_is_reported_with_the_class(listing):
    everything = [("0000.jpg", 0), ("0000.jpg", 5), ("0000.jpg", 5), (f"{synsets()[0]}_1.JPEG", 0)]
    planned, problems = plan_shards("train", _with_names(listing, everything), CONVERSION)
    assert sorted(_names_and_labels(planned)) == sorted(set(everything))
    assert [(problem.kind, problem.where) for problem in problems] == [("duplicate_name", f"{synsets()[5]}/0000.jpg")]


def test_names_shared_by_classes_do_not_affect_the_order_of_others(listing):
    names = [(f"picture{number}.jpg", number % 7) for number in range(30)]
    together = [*names, ("0000.jpg", 1), ("0000.jpg", 2)]
    order = [name for name, _ in _names_and_labels(plan_shards("train", _with_names(listing, names), CONVERSION)[0])]
    assert order == sorted(order, key=lambda name: Hasher("train").hash_key(name.encode()))
    planned, _ = plan_shards("train", _with_names(listing, together), CONVERSION)
    assert [name for name, _ in _names_and_labels(planned) if name != "0000.jpg"] == order


def test_prepared_data_sets_of_earlier_versions_are_recognized():
    """The bytes that fingerprints hash have never changed."""
    layout = [("name", "S64"), ("label", "<i2"), ("container", "<i4")]
    layout += [(field, "<i8") for field in ("offset", "size", "modified")]
    images = np.array([(b"n01440764_1.JPEG", 0, 0, 1536, 1000, 7), (b"n01440764_2.JPEG", 0, 0, 3072, 900, 7)], layout)
    listed = images.astype(IMAGE)
    listed["container"] = 3
    shard = Shard("train", 0, 1, listed, {3: "train.tar"}, CONVERSION)
    expected = hashlib.sha256(b"1 imagenet2012 train-00000-of-00001 structure " + images.tobytes()).hexdigest()
    assert fingerprint(shard, FORMS["original"]) == expected
