"""The benchmark of preparing pictures, and what it shares with others: photographs, memory and CPU time."""

import argparse
import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import benchmarking
import image_folder
import photographs
import process_tree
import tfds_pipelines

from hamgan.errors import UserError


def test_photographs_differ_and_are_about_as_large_as_those_of_imagenet():
    files = list(photographs.jpegs(40))
    assert len(set(files)) == 40
    assert files[:3] == list(photographs.jpegs(3))
    assert 90_000 < np.mean([len(data) for data in files]) < 130_000
    sizes = [Image.open(io.BytesIO(data)).size for data in files]
    assert 440 < np.mean([width for width, _ in sizes]) < 500
    assert 330 < np.mean([height for _, height in sizes]) < 390


def test_memory_of_descendants_counts():
    code = "x = bytearray(100_000_000); print(len(x), flush=True); input()"
    before = process_tree.PeakMemory().stop()
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        peak = process_tree.PeakMemory().stop()
        child.communicate(b"\n")
    assert 90_000_000 < peak - before < 200_000_000


def test_memory_without_files_leaves_out_mapped_files(tmp_path):
    path = tmp_path / "file"
    np.ones(100_000_000, np.uint8).tofile(path)
    before = process_tree.memory_without_files()
    mapped = np.memmap(path, np.uint8, "r")
    assert mapped.sum() == 100_000_000
    assert process_tree.memory_without_files() - before < 30_000_000
    own = np.ones(100_000_000, np.uint8)
    assert own.sum() == 100_000_000
    assert 90_000_000 < process_tree.memory_without_files() - before < 150_000_000


def test_cpu_time_of_descendants_counts():
    code = "import time\nwhile time.process_time() < 0.5: pass"
    before = process_tree.cpu_seconds()
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as child:
        child.wait()
    assert 0.4 < process_tree.cpu_seconds() - before < 2.0


def color(index):
    return 40 + 8 * index, 200 - 5 * index, 100


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two class folders in "train". The central squares have one color each, and end where JPEG's blocks do."""
    folder = tmp_path_factory.mktemp("pictures") / "train"
    for index in range(20):
        image = Image.new("RGB", (304, 160) if index % 2 else (160, 320))
        left, top = ((length - 160) // 2 for length in image.size)
        image.paste(color(index), (left, top, left + 160, top + 160))
        path = folder / ("roses", "tulips")[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=100, subsampling=0)
    return folder


@pytest.mark.parametrize("variant", ["tfds", "tfds_generator"])
def test_tfds_pipelines_write_the_central_squares(variant, source, tmp_path):
    if variant == "tfds":
        tfds_pipelines.write_with_tf_data(str(source.parent), str(tmp_path))
    else:
        tfds_pipelines.write_with_builder(str(source), str(tmp_path))
    splits, info = tfds.load(tfds_pipelines.NAME, data_dir=str(tmp_path), with_info=True)
    assert info.features["label"].names == ["roses", "tulips"]
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 18, "validation": 2}
    found = set()
    for dataset in splits.values():
        for example in dataset.as_numpy_iterator():
            name = example["file_name"].decode()
            index = int(pathlib.Path(name).stem)
            assert name == f"{info.features['label'].names[example['label']]}/{index}.jpg"
            assert example["image"].shape == (128, 128, 3)
            assert np.abs(example["image"].astype(int) - color(index)).max() <= 2
            found.add(index)
    assert found == set(range(20))
    assert image_folder.count_images(tfds_pipelines.NAME, str(tmp_path)) == 20


def test_decoding_reads_all_pictures_and_fails_for_a_damaged_one(source, tmp_path):
    paths = [str(path) for path in sorted(source.rglob("*.jpg"))]
    assert photographs.decode(paths) == 20
    data = pathlib.Path(paths[0]).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(OSError, match="truncated"):
        photographs.decode([*paths, str(tmp_path / "cut.jpg")])


def test_images_of_another_size_are_refused(source, tmp_path, monkeypatch):
    tfds_pipelines.write_with_tf_data(str(source.parent), str(tmp_path))
    monkeypatch.setattr(image_folder, "RESOLUTION", 64)
    with pytest.raises(benchmarking.BenchmarkError, match=r"images of 64x64 .*, found shape \(128, 128, 3\)"):
        image_folder.count_images(tfds_pipelines.NAME, str(tmp_path))


def results():
    def quantities(speed):
        row = {"images_per_second": speed, "seconds": 2000 / speed, "cpu_seconds": 3.0, "peak_bytes": 5e8}
        return {name: {"median": value, "min": value - 1, "max": value + 1, "n": 3} for name, value in row.items()}

    return {
        "command": "python image_folder.py",
        "device": "CPU",
        "versions": {"python": "3.12"},
        "config": {"images": 2000, "classes": 10, "resolution": 128, "source_bytes": 2.1e8, "repeats": 3},
        "variants": {
            "hamgan": quantities(300.0),
            "tfds": quantities(200.0),
            "tfds_generator": quantities(50.0),
            "decoding": quantities(400.0),
        },
    }


def test_page_shows_ratios_and_cpu_time_per_image(tmp_path):
    text = benchmarking.publish(results(), str(tmp_path / "a.md"), image_folder.page, image_folder.draw)
    assert "2,000 JPEG files of 210 MB in 10 class folders become" in text
    assert "| `hamgan prepare folder` | 300 (299-301) | 1.50 | 0.75 | 1.5 s | 0.50 GB |" in text
    assert "| 50 (49-51) | 0.25 | 0.12 |" in text
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_too_few_images_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="--images must be at least 100, found 99"):
        image_folder.measure_all(argparse.Namespace(images=99, repeats=1, folder=None))
    with pytest.raises(UserError, match="--folder must be an existing folder"):
        image_folder.measure_all(argparse.Namespace(images=100, repeats=1, folder=str(tmp_path / "none")))


@pytest.mark.slow
def test_all_variants_prepare_the_same_number_of_images(tmp_path):
    out = ["--out", str(tmp_path / "a.json"), "--page", str(tmp_path / "a.md"), "--folder", str(tmp_path)]
    command = [sys.executable, image_folder.__file__, "--images", "100", "--repeats", "1", *out]
    subprocess.run(command, check=True)
    found = json.loads((tmp_path / "a.json").read_text())
    assert list(found["variants"]) == list(image_folder.VARIANTS)
    for variant, row in found["variants"].items():
        assert row["images_per_second"]["median"] * row["seconds"]["median"] == pytest.approx(100)
        assert row["cpu_seconds"]["median"] > 0
        assert row["peak_bytes"]["median"] > (1e7 if variant == image_folder.LIMIT else 1e8)
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.md", "a.png"]
