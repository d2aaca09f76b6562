import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from imagenet_helpers import CLASSES, all_files, request_for

from data_prep import beam_pipeline, imagenet, storage
from data_prep import prepare as module
from data_prep.beam_pipeline import write_with_beam
from data_prep.fake_imagenet import FLAWS, flawed_name, write_fake_imagenet
from data_prep.ilsvrc import label_of_synset, label_of_validation_name, synsets
from data_prep.imagenet import Selection
from data_prep.imagenet_forms import get_forms
from data_prep.prepare import prepare
from hamgan.data.preprocessing import preprocess
from hamgan.errors import FailedError, UserError

CMYK, PNG, TRUNCATED = (flawed_name(CLASSES[0], flaw) for flaw in FLAWS)


def _examples(name, data_dir, split):
    dataset = tfds.load(name, data_dir=str(data_dir), split=split)
    return {example["file_name"].decode(): example for example in dataset.as_numpy_iterator()}


def _record(data_dir, name="imagenet2012/5.1.0"):
    return json.loads((pathlib.Path(data_dir) / name / "preparation.json").read_text())


def test_stock_tfds_reads_photographs_and_labels(prepared):
    for split, count in (("train", 26), ("validation", 12)):
        examples = _examples("imagenet2012", prepared, split)
        assert len(examples) == count
        for name, example in examples.items():
            expected = label_of_synset()[name[:9]] if split == "train" else label_of_validation_name(name)
            assert example["label"] == expected
            assert example["image"].dtype == np.uint8


@pytest.mark.slow
def test_stock_tfds_reads_preprocessed_images_without_this_package(prepared):
    code = (
        "import sys, tensorflow_datasets as tfds\n"
        "data, info = tfds.load('imagenet_hamgan/64', data_dir=sys.argv[1], with_info=True)\n"
        "example = next(data['train'].as_numpy_iterator())\n"
        "assert example['image'].shape == (64, 64, 3) and example['image'].dtype == 'float32'\n"
        "assert info.features['label'].int2str(example['label']) == example['file_name'].decode()[:9]\n"
        "assert 'data_prep' not in sys.modules and 'hamgan' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(prepared)], check=True)


@pytest.mark.parametrize("resolution", [64, 128])
def test_preprocessed_images_match_the_photographs_exactly(prepared, resolution):
    for split in ("train", "validation"):
        photographs = _examples("imagenet2012", prepared, split)
        preprocessed = _examples(f"imagenet_hamgan/{resolution}", prepared, split)
        assert list(preprocessed) == list(photographs)
        for name, example in preprocessed.items():
            expected = preprocess(tf.constant(photographs[name]["image"]), resolution).numpy()
            np.testing.assert_array_equal(example["image"], expected)
            assert example["label"] == photographs[name]["label"]


def test_every_layout_gives_the_same_records(fakes, prepared, tmp_path):
    expected = all_files(prepared / "imagenet2012" / "5.1.0")
    for layout in ("folders", "class_folders"):
        prepare(request_for(fakes / layout, tmp_path / layout))
        files = all_files(tmp_path / layout / "imagenet2012" / "5.1.0")
        assert files.keys() == expected.keys()
        for name in files:
            assert name.startswith("preparation.") or files[name] == expected[name]


def test_flawed_images_are_repaired_or_skipped_and_reported(prepared):
    problems = {(problem["kind"], problem["where"]) for problem in _record(prepared)["problems"]}
    assert {("cmyk", CMYK), ("png", PNG), ("damaged", TRUNCATED)} <= problems
    assert ("total", "all train images") in problems
    assert ("missing_synset", synsets()[1]) in problems
    assert ("class_count", CLASSES[1]) in problems
    page = (prepared / "imagenet2012" / "5.1.0" / "preparation.html").read_text()
    assert TRUNCATED in page
    assert "images that cannot be decoded: 1, skipped" in page


def test_labels_of_all_classes(tmp_path):
    one_pixel = tf.io.encode_jpeg(np.zeros((1, 1, 3), np.uint8)).numpy()
    write_fake_imagenet(
        str(tmp_path / "fake"),
        layout="tars",
        classes=synsets(),
        train_per_class=1,
        validation_per_class=1,
        flaws=False,
        image=lambda rng, label: one_pixel,
    )
    prepare(request_for(tmp_path / "fake", tmp_path / "data"))
    for split in ("train", "validation"):
        examples = _examples("imagenet2012", tmp_path / "data", split)
        assert len(examples) == 1000
        for name, example in examples.items():
            expected = synsets().index(name[:9]) if split == "train" else label_of_validation_name(name)
            assert example["label"] == expected
        assert sorted(example["label"] for example in examples.values()) == list(range(1000))


def test_existing_data_sets_are_unchanged(fakes, prepared, caplog):
    before = {path: os.stat(path).st_mtime_ns for path in prepared.rglob("*") if path.is_file()}
    with caplog.at_level("INFO"):
        prepare(request_for(fakes / "tars", prepared, forms=("original", "128")))
    assert caplog.text.count("exists already") == 2
    assert before == {path: os.stat(path).st_mtime_ns for path in prepared.rglob("*") if path.is_file()}


def test_another_selection_does_not_replace_an_existing_data_set(fakes, prepared):
    with pytest.raises(
        UserError,
        match="holds ImageNet prepared from other files, or with another selection or another --check; move it away",
    ):
        prepare(request_for(fakes / "tars", prepared, selection=Selection(per_class=2)))


def test_data_set_prepared_by_other_means_is_unchanged(fakes, prepared, tmp_path, caplog):
    shutil.copytree(prepared / "imagenet2012", tmp_path / "imagenet2012")
    (tmp_path / "imagenet2012" / "5.1.0" / "preparation.json").unlink()
    before = all_files(tmp_path)
    with caplog.at_level("INFO"):
        prepare(request_for(fakes / "tars", tmp_path))
    assert "was not prepared by hamgan; left unchanged" in caplog.text
    assert all_files(tmp_path) == before


def test_full_check_gives_the_same_records_and_is_reported(fakes, prepared, tmp_path):
    prepare(request_for(fakes / "tars", tmp_path, check="full"))
    files, expected = (all_files(folder / "imagenet2012" / "5.1.0") for folder in (tmp_path, prepared))
    for name in files:
        assert name.startswith("preparation.") or files[name] == expected[name]
    assert _record(tmp_path)["check"] == "full"
    assert "every image was decoded" in files["preparation.html"].decode()


def test_subset_keeps_its_labels_and_is_reported(fakes, tmp_path):
    selection = Selection(synsets=CLASSES[1:3], per_class=2)
    prepare(request_for(fakes / "class_folders", tmp_path, selection=selection))
    for split in ("train", "validation"):
        examples = _examples("imagenet2012", tmp_path, split).values()
        labels = [label_of_synset()[synset] for synset in CLASSES[1:3]]
        assert sorted(example["label"] for example in examples) == sorted(2 * labels)
    record = _record(tmp_path)
    assert record["subset"] == {"synsets": list(CLASSES[1:3]), "per_class": 2}
    assert record["complete"] is False
    kinds = {problem["kind"] for problem in record["problems"]}
    assert kinds == {"class_count"}  # 6 images per class are fewer than 732, but no requested class is missing


def test_strict_fails_before_writing_anything_but_the_report(fakes, tmp_path):
    with pytest.raises(UserError, match=r"--strict: problems were found \([\d,]+\), so nothing was prepared; .*html"):
        prepare(request_for(fakes / "tars", tmp_path, strict=True))
    files = all_files(tmp_path)
    assert {os.path.basename(name) for name in files} == {"preparation.json", "preparation.html"}
    assert not (tmp_path / "imagenet2012" / "5.1.0").exists()


def test_strict_rejects_undecodable_images_but_keeps_the_records_for_later(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "completeness_problems", lambda *_: [])
    with pytest.raises(UserError, match=r"--strict: problems were found \(1\)"):
        prepare(request_for(fakes / "tars", tmp_path, strict=True))
    incomplete = tmp_path / "imagenet2012" / "5.1.0.incomplete"
    records = {path.name: path.stat().st_mtime_ns for path in incomplete.glob("*tfrecord*")}
    assert records
    prepare(request_for(fakes / "tars", tmp_path))
    final = tmp_path / "imagenet2012" / "5.1.0"
    assert records == {path.name: path.stat().st_mtime_ns for path in final.glob("*tfrecord*")}


def test_strict_accepts_the_flaws_of_ilsvrc_itself(tmp_path, fakes, monkeypatch):
    monkeypatch.setattr(imagenet, "completeness_problems", lambda *_: [])
    shutil.copytree(fakes / "folders", tmp_path / "fake")
    (tmp_path / "fake" / "train" / CLASSES[0] / TRUNCATED).unlink()
    prepare(request_for(tmp_path / "fake", tmp_path / "data", strict=True))
    record = _record(tmp_path / "data")
    assert record["complete"] is True
    assert {problem["kind"] for problem in record["problems"]} == {"cmyk", "png"}


def test_strict_rejects_a_data_set_that_was_prepared_without_it(fakes, prepared):
    with pytest.raises(UserError, match=r"was prepared without --strict and has problems \([\d,]+\)"):
        prepare(request_for(fakes / "tars", prepared, strict=True))


def test_full_disk_is_one_line_and_leaves_no_files(fakes, tmp_path, monkeypatch):
    def fail(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "records; No space left on device")

    monkeypatch.setattr(module, "write_with_beam", fail)
    with pytest.raises(UserError, match="records; No space left on device; fix this and run the same command again"):
        prepare(request_for(fakes / "tars", tmp_path, beam_options=[]))
    assert not all_files(tmp_path)


def test_lack_of_space_is_reported_before_writing(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "free_bytes", lambda path: 1000)
    with pytest.raises(UserError, match=r"not enough space in .*: 0.0 GB needed"):
        prepare(request_for(fakes / "tars", tmp_path))
    assert not all_files(tmp_path)


def test_two_preparations_cannot_write_to_the_same_folder(fakes, tmp_path):
    folder = tmp_path / "imagenet2012" / "5.1.0.incomplete"
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another 'hamgan prepare' is writing to"):
            prepare(request_for(fakes / "tars", tmp_path))
    finally:
        os.close(descriptor)


def test_source_without_images_is_rejected(fakes, tmp_path):
    (tmp_path / "empty" / "train" / "n00000000").mkdir(parents=True)
    shutil.copytree(fakes / "folders" / "val", tmp_path / "empty" / "val")
    with pytest.raises(UserError, match=r"no train images .*; found .*n00000000, for example"):
        prepare(request_for(tmp_path / "empty", tmp_path / "data"))


def _source_of(tmp_path, fakes, layout="folders"):
    return shutil.copytree(fakes / layout, tmp_path / "source")


@pytest.mark.parametrize("form", ["original", "64"])
def test_split_without_usable_images_is_not_published(fakes, tmp_path, form):
    source = _source_of(tmp_path, fakes)
    for image in (source / "val").iterdir():
        image.write_bytes(b"not an image")
    with pytest.raises(
        UserError,
        match=r"expected validation images that can be used in .*val, found 12 images that cannot; nothing was",
    ):
        prepare(request_for(source, tmp_path / "data", forms=(form,)))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))
    (page,) = (tmp_path / "data").rglob("preparation.html")
    assert "images that cannot be decoded: 13, skipped" in page.read_text()


def test_same_source_for_both_splits_is_rejected(fakes):
    train = str(fakes / "folders" / "train")
    for other in (train, f"{train}/", f"{train}/../train"):
        with pytest.raises(UserError, match=r"found .*train for both --train and --validation"):
            imagenet.find_sources(None, train, other)
    assert imagenet.find_sources(None, train, None) == {"train": train}


def test_same_name_in_several_classes_is_prepared_for_each(fakes, tmp_path):
    source = _source_of(tmp_path, fakes)
    images = {}
    for synset in CLASSES:
        for number, path in enumerate(sorted((source / "train" / synset).iterdir())[:3]):
            images[label_of_synset()[synset], f"{number:04d}.jpg"] = path.read_bytes()
            path.rename(path.with_name(f"{number:04d}.jpg"))
    (source / "train" / CLASSES[1] / "0002.jpg").write_bytes(b"damaged")
    prepare(request_for(source, tmp_path / "data"))
    decoders = {"image": tfds.decode.SkipDecoding()}
    dataset = tfds.load("imagenet2012", data_dir=str(tmp_path / "data"), split="train", decoders=decoders)
    found = {
        (int(example["label"]), example["file_name"].decode()): example["image"]
        for example in dataset.as_numpy_iterator()
        if example["file_name"].endswith(b".jpg")
    }
    del images[label_of_synset()[CLASSES[1]], "0002.jpg"]
    assert found == images
    problems = {(problem["kind"], problem["where"]) for problem in _record(tmp_path / "data")["problems"]}
    assert ("damaged", f"{CLASSES[1]}/0002.jpg") in problems
    assert not [where for kind, where in problems if kind == "duplicate_name"]


def test_damaged_tar_is_rejected_with_and_without_strict(fakes, tmp_path):
    source = _source_of(tmp_path, fakes, "tars")
    path = source / "ILSVRC2012_img_val.tar"
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        content[tar.getmembers()[5].offset + 100] ^= 0x55
    path.write_bytes(content)
    for strict in (False, True):
        with pytest.raises(UserError, match=rf"tar {path} is damaged: expected a file header"):
            prepare(request_for(source, tmp_path / "data", strict=strict))
    assert not all_files(tmp_path / "data")


def test_unwritable_folder_is_reported_before_listing(fakes, prepared, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(imagenet, "find_containers", lambda *_: pytest.fail("listed"))
    for data_dir in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(UserError, match=r"cannot write .*file.*; pass another --data_dir"):
            prepare(request_for(fakes / "tars", data_dir))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "imagenet_hamgan").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write .*imagenet_hamgan/64/1\.0\.0\.incomplete"):
        prepare(request_for(fakes / "tars", tmp_path / "data", forms=("original", "64")))


def test_incomplete_data_set_in_the_final_folder_is_reported_before_listing(fakes, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "find_containers", lambda *_: pytest.fail("listed"))
    shutil.copytree(prepared / "imagenet2012", tmp_path / "imagenet2012")
    (tmp_path / "imagenet2012" / "5.1.0" / "dataset_info.json").unlink()
    with pytest.raises(
        UserError, match=r"5\.1\.0 exists but has no dataset_info\.json, so it is not a complete data set; move it away"
    ):
        prepare(request_for(fakes / "tars", tmp_path))


def test_damaged_preparation_record_is_named(fakes, prepared, tmp_path):
    shutil.copytree(prepared / "imagenet2012", tmp_path / "imagenet2012")
    path = tmp_path / "imagenet2012" / "5.1.0" / "preparation.json"
    for content in (
        "{",
        "[]",
        "{}",
        '{"plan": "x", "subset": {}, "problems": []}',
        '{"plan": "x", "subset": null, "problems": [3]}',
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=rf"{path} is damaged: "):
            prepare(request_for(fakes / "tars", tmp_path))


def test_any_folder_name_works(fakes, prepared, tmp_path):
    source = shutil.copytree(fakes / "tars", tmp_path / "source[1]*?")
    data_dir = tmp_path / "data {a,b}[!c]?"
    prepare(request_for(source, data_dir))
    files, expected = (all_files(folder / "imagenet2012" / "5.1.0") for folder in (data_dir, prepared))
    assert files.keys() == expected.keys()
    assert all(files[name] == expected[name] for name in files if not name.startswith("preparation."))


@pytest.mark.parametrize(
    ("options", "message"),
    [(["runner=Nonsense"], "Unexpected pipeline runner"), (["direct_num_workers=x"], "invalid int value: 'x'")],
)
def test_invalid_beam_option_is_one_line(options, message, capfd):
    with pytest.raises(UserError, match=message):
        write_with_beam([], [], options)
    assert "usage" not in capfd.readouterr().err


def test_failed_beam_pipeline_is_one_line(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beam_pipeline, "write_shard", fail)
    with pytest.raises(FailedError, match=r"the Apache Beam pipeline failed: .*No space left on device") as raised:
        write_with_beam(["a shard"], [], ["runner=DirectRunner"])
    assert "\n" not in str(raised.value)


def test_unsafe_tar_is_rejected_and_writes_nothing(fakes, tmp_path):
    source = tmp_path / "deep" / "source"
    shutil.copytree(fakes / "tars", source)
    with tarfile.open(source / "ILSVRC2012_img_train.tar", "a") as tar:
        header = tarfile.TarInfo("../../escaped.tar")
        tar.addfile(header)
    before = all_files(tmp_path)
    with pytest.raises(UserError, match=r"is not safe: its member '../../escaped.tar' is outside the tar"):
        prepare(request_for(source, tmp_path / "deep" / "data"))
    assert all_files(tmp_path) == before


def test_local_beam_runner_writes_the_same_records(fakes, prepared, tmp_path):
    options = ["runner=DirectRunner", "direct_num_workers=1"]
    prepare(request_for(fakes / "tars", tmp_path, forms=("original", "64"), beam_options=options))
    for folder in ("imagenet2012/5.1.0", "imagenet_hamgan/64/1.0.0"):
        assert all_files(tmp_path / folder) == all_files(prepared / folder)


KILLING = """
import os, signal, sys, threading
import tensorflow as tf
from data_prep import shards
from data_prep.local_workers import LocalWorkers

num_renamed = 0
rename, write_shard, run = tf.io.gfile.rename, shards.write_shard, LocalWorkers.run


def write_and_kill(command, *arguments):
    def rename_or_kill(temporary, path, **options):
        global num_renamed
        num_renamed += ".tfrecord-" in path
        if num_renamed > 4:
            os.kill(command, signal.SIGKILL)
            threading.Event().wait()  # This process exits with the command.
        rename(temporary, path, **options)

    tf.io.gfile.rename = rename_or_kill
    write_shard(*arguments)


def run_and_be_killed(self, function, work, **options):
    if function is write_shard:
        function, work = write_and_kill, [(os.getpid(), *item) for item in work]
    return run(self, function, work, **options)


LocalWorkers.run = run_and_be_killed
"""


@pytest.mark.slow
def test_killed_preparation_resumes_and_writes_the_same_bytes(fakes, prepared, tmp_path):
    """The kill comes when one of two shards is finished in all three forms, and the other in one form."""
    (tmp_path / "killing.py").write_text(KILLING)
    data_dir = tmp_path / "data"
    arguments = ["prepare", "imagenet", "--source", str(fakes / "tars"), "--data_dir", str(data_dir)]
    arguments += ["--form", "original", "64", "128", "--workers", "1"]
    code = "import sys; from hamgan.cli.main import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join([str(tmp_path), *sys.path])

    def prepare(start):
        return subprocess.run(
            [sys.executable, "-c", start + code, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            check=False,
        )

    killed = prepare("import killing; ")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(data_dir.rglob("*.tmp"))) == 2
    assert not (data_dir / "imagenet2012" / "5.1.0").exists()
    resumed = prepare("")
    assert resumed.returncode == 0, resumed.stderr
    assert all_files(data_dir) == all_files(prepared)


def test_builder_without_records_names_the_command(tmp_path):
    builder = get_forms(["64"])[0].builder(str(tmp_path))
    with pytest.raises(UserError, match=r"expected records of imagenet_hamgan in .*; write them with 'hamgan prepare"):
        builder.download_and_prepare()
