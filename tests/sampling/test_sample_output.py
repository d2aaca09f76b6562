import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import hamgan
from hamgan.errors import UserError
from hamgan.random_streams import Purpose, fold
from hamgan.sampling import sample_folder
from hamgan.sampling.grids import image_grid, to_uint8
from hamgan.sampling.latents import Latents, save_latents
from hamgan.sampling.output_kind import output_kind
from hamgan.sampling.sampler import Sampler

EARLIER = pathlib.Path(__file__).parents[1] / "runs" / "run_e872773"
SETTINGS = {"num": 11, "seed": 3, "batch": 4}


@pytest.fixture(scope="module")
def run():
    return hamgan.load(str(EARLIER))


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A folder of samples."""
    path = tmp_path_factory.mktemp("samples") / "whole"
    assert run.save_samples(f"{path}/", **SETTINGS) == (f"{path}/", 11, 11)
    return path


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("a.png", "picture"), ("a.JPG", "picture"), ("a.npz", "arrays"), ("a", "folder"), ("a.png/", "folder")],
)
def test_the_ending_tells_what_is_written(path, kind):
    assert output_kind(path) == kind


def samples(folder):
    """Labels and images of a folder, by index."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name)
    assert [path.name for path in paths] == [f"{index:06d}.png" for index in range(len(paths))]
    return [int(path.parent.name) for path in paths], np.stack([np.asarray(Image.open(path)) for path in paths])


def test_a_folder_has_a_picture_for_each_sample_below_its_class(run, folder):
    record = json.loads((folder / "samples.json").read_text())
    assert (record["num"], record["seed"], record["step"], record["truncation"]) == (11, 3, 4, None)
    labels, images = samples(folder)
    assert len(content(folder)) == 12
    # As evaluation draws them.
    np.testing.assert_array_equal(labels, Sampler(run.generator, seed=3, batch=64).random_labels(11))
    np.testing.assert_array_equal(images, run.sample(labels, seed=3, batch=4))


def test_an_interrupted_folder_is_resumed_to_the_same_bytes(run, folder, tmp_path, monkeypatch):
    write = sample_folder.write_atomically
    written = []

    def write_until_interrupted(path, data):
        if len(written) == 7:
            # What a kill leaves.
            os.makedirs(os.path.dirname(path), exist_ok=True)
            pathlib.Path(f"{path}.{'0' * 32}.tmp").write_bytes(data[:20])
            raise KeyboardInterrupt
        written.append(path)
        write(path, data)

    path = tmp_path / "resumed"
    with monkeypatch.context() as patch:
        patch.setattr(sample_folder, "write_atomically", write_until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.save_samples(str(path), **SETTINGS)
    times = {name: (path / name).stat().st_mtime_ns for name in content(path) if not name.endswith(".tmp")}
    assert len(times) == 7
    assert len(content(path)) == 8
    assert run.save_samples(str(path), **SETTINGS) == (str(path), 11, 5)
    assert content(path) == content(folder)
    assert all((path / name).stat().st_mtime_ns == at for name, at in times.items())


def test_a_run_that_moved_resumes_its_folder(run, folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    record = json.loads((moved / "samples.json").read_text())
    (moved / "samples.json").write_text(json.dumps({**record, "run": "elsewhere"}))
    assert run.save_samples(str(moved), **SETTINGS).drawn == 0
    (moved / "samples.json").write_text(json.dumps({**record, "checkpoint": "0" * 64, "step": 2}))
    with pytest.raises(UserError, match=r"expected the checkpoint of step 2 of .*, found that of step 4 of"):
        run.save_samples(str(moved), **SETTINGS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 4}, "expected seed=3, found seed=4; choose the same settings"),
        ({"num": 12}, "expected num=11, found num=12"),
        ({"truncation": 0.5}, "expected truncation=None, found truncation=0.5"),
        ({"classes": ["3"]}, "expected the same labels, found others"),
    ],
)
def test_a_folder_of_other_samples_is_refused(run, folder, settings, message):
    before = content(folder)
    with pytest.raises(UserError, match=message):
        run.save_samples(str(folder), **{**SETTINGS, **settings})
    assert content(folder) == before


def test_a_folder_with_something_else_or_in_use_is_refused(run, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"found .* without samples.json; choose another name"):
        run.save_samples(str(tmp_path), **SETTINGS)
    with pytest.raises(UserError, match=r"expected a folder, found the file"):
        run.save_samples(f"{tmp_path}/notes.txt/", **SETTINGS)
    assert content(tmp_path) == {"notes.txt": b"mine"}
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process writes samples to"):
            run.save_samples(str(folder), **SETTINGS)
    finally:
        os.close(opened)


def test_arrays_hold_the_samples_and_their_labels(run, folder, tmp_path):
    path = str(tmp_path / "samples.npz")
    labels, images = samples(folder)
    run.save_samples(path, [str(label) for label in labels], **{**SETTINGS, "num": 13})
    with np.load(path) as arrays:
        # Classes take turns.
        np.testing.assert_array_equal(arrays["arr_1"], labels + labels[:2])
        np.testing.assert_array_equal(arrays["arr_0"][:11], images)


def test_latent_vectors_replace_random_ones(run, folder, tmp_path):
    labels, images = samples(folder)
    latents = str(tmp_path / "latents.npz")
    z = run.generator.draw_inputs(fold(3, Purpose.SAMPLES), count=11).z
    save_latents(latents, Latents(z.numpy(), np.eye(10)[labels]))
    grid = tmp_path / "grid.png"
    assert run.save_samples(str(grid), latents=latents, seed=3, batch=4, per_class=4).total == 11
    blank = np.full((1, *images.shape[1:]), 255, np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(grid)), image_grid(np.concatenate([images, blank]), columns=4))


def test_standing_statistics_leave_the_run_as_it_is(run, folder):
    labels, images = samples(folder)
    before = run.generator.norm.moving_mean.numpy()
    standing = run.sample(labels[:4], seed=3, batch=4, batch_norm="standing")
    assert (standing != images[:4]).any()
    np.testing.assert_array_equal(run.generator.norm.moving_mean.numpy(), before)


def test_latents_that_mix_classes_are_generated_from_the_mixture():
    run = hamgan.load("digits")
    inputs = run.generator.draw_inputs(fold(3, Purpose.SAMPLES), count=2, labels=tf.constant([4, 4]))
    weights = np.float32([[0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0.5, 0, 0, 0.5, 0, 0, 0, 0, 0]])
    images = run.sample(latents=Latents(inputs.z.numpy(), weights), seed=3)
    expected = run.generator(inputs.z, initial_bases=inputs.initial_bases, class_weights=weights)
    np.testing.assert_allclose(images.astype(int), to_uint8(expected.numpy()), atol=1)
    pure = run.generator(*inputs)
    assert np.abs(expected - pure).max(axis=(1, 2, 3))[1] > 0.1


@pytest.mark.parametrize(
    ("out", "arguments", "message"),
    [
        ("a.gif", {}, r"ends in .png, .jpg, .jpeg, .webp or .npz, or in / for a folder, found .gif"),
        ("a.png", {"num": 3}, "found the picture .*; use per_class"),
        ("a/", {"per_class": 3}, "expected per_class for a picture, found .*; use num"),
        ("a/", {"num": 0}, "num must be positive, found 0"),
        ("a.png", {"seed": -1}, r"seed must be in \[0, 2\^31\), found -1"),
        ("a.png", {"truncation": 0}, "truncation must be positive, found 0"),
        ("a.png", {"batch_norm": "mean"}, "batch_norm must be moving, batch or standing, found 'mean'"),
        ("a.png", {"batch": 0}, "batch must be positive"),
        ("a.png", {"classes": []}, "at least one class"),
        ("a.npz", {"latents": "x.npz", "classes": [3]}, "expected either latents or classes, found both"),
        ("a.npz", {"latents": "x.npz", "truncation": 1.0}, "expected either latents or truncation"),
        ("a.npz", {"latents": "x.npz"}, "cannot read x.npz"),
        ("a.npz", {"latents": Latents(np.zeros((2, 3)), np.eye(10)[:2])}, r"expected z of shape \(n, 6\)"),
        ("a.npz", {"latents": Latents(np.zeros((2, 6)), np.eye(10)[:2]), "num": 3}, "at most 2, the number of latent"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(run, out, arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run.save_samples(f"{tmp_path}/{out}", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_folder_is_resumed_to_the_same_bytes(tmp_path):
    def start(name):
        command = [
            sys.executable,
            "-m",
            "hamgan.cli.main",
            "sample",
            "--run",
            str(EARLIER),
            "--out",
            f"{tmp_path}/{name}",
        ]
        return subprocess.Popen([*command, "--num", "600", "--batch", "20"])

    def count():
        return len(list((tmp_path / "killed").rglob("*.png")))

    assert start("whole").wait() == 0
    for more in (1, 150, 77):
        process = start("killed")
        goal = count() + more
        while count() < goal and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 0 < count() < 600
    assert start("killed").wait() == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
