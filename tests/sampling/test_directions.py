import numpy as np
import pytest
from PIL import Image

import hamgan
from hamgan.cli.main import main
from hamgan.errors import UserError
from hamgan.random_streams import Purpose, fold
from hamgan.sampling.directions import direction_strip, find_directions, read_directions, save_directions
from hamgan.sampling.grids import image_grid


@pytest.fixture(scope="module")
def run(tiny_run):
    return hamgan.load(tiny_run)


def test_sefa_finds_the_directions_that_the_first_layer_stretches_most(run):
    found = run.directions(num=6)
    kernel = np.float64(run.generator.dense.normalized_kernel(training=False))
    stretched = np.linalg.norm(np.float64(found.directions) @ kernel, axis=1)
    np.testing.assert_allclose(stretched, np.linalg.svd(kernel, compute_uv=False), rtol=1e-5)
    np.testing.assert_allclose(found.values, stretched**2, rtol=1e-5)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(6), atol=1e-6)
    largest = abs(found.directions).argmax(axis=1)
    assert (found.directions[np.arange(6), largest] > 0).all()
    np.testing.assert_array_equal(run.directions(num=2).directions, found.directions[:2])


@pytest.mark.parametrize("method", ["sefa", "ganspace"])
def test_both_methods_find_the_dimensions_that_change_images_most(tiny_run, method):
    run = hamgan.load(tiny_run)
    kernel = run.generator.dense.kernel
    strength = np.float32([0.01, 0.01, 1.0, 0.01, 0.1, 0.01])
    normal = np.random.default_rng(0).normal(size=kernel.shape)
    kernel.assign(strength[:, np.newaxis] * normal)
    found = find_directions(run, method=method, num=2, classes=[1, 7])
    assert found.method == method
    assert found.directions[0, 2] > 0.98
    assert found.values[0] > 5 * found.values[1]
    if method == "sefa":
        assert found.directions[1, 4] > 0.95


def test_the_center_of_a_strip_is_the_sample_and_the_others_are_shifted(run):
    direction = run.directions(num=1).directions[0]
    strip = direction_strip(run, direction, classes=[3, 8], seed=5, steps=(0, 2))
    z, labels, bases = run.generator.draw_inputs(fold(5, Purpose.SAMPLES), count=2, labels=np.array([3, 8]))
    for column, step in enumerate((0, 2)):
        images = run.generator(z + step * direction, labels, bases).numpy()
        assert abs(strip[column::2] - np.round((images + 1) * 127.5)).max() <= 1
    assert strip.shape == (4, 32, 32, 3)
    assert (strip[3] != strip[2]).any()


def test_reads_what_was_saved_and_refuses_other_files(run, tmp_path):
    found = run.directions(num=3)
    path = str(tmp_path / "directions.npz")
    save_directions(path, found)
    read = read_directions(path, z_dim=6)
    np.testing.assert_array_equal(read.directions, found.directions)
    np.testing.assert_array_equal(read.values, found.values)
    assert read.method == "sefa"
    with pytest.raises(UserError, match=r"expected directions of shape \(k, 5\)"):
        read_directions(path, z_dim=5)
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"no complete \.npz file"):
        read_directions(str(tmp_path / "other.npz"), z_dim=6)
    with pytest.raises(UserError, match="cannot read"):
        read_directions(str(tmp_path / "none.npz"), z_dim=6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "pca"}, "must be sefa or ganspace, found 'pca'"),
        ({"num": 7}, "must be in 1-6"),
        ({"classes": ["nine"]}, "unknown class 'nine'"),
        ({"seed": -1}, "seed must be in"),
    ],
)
def test_wrong_arguments_are_refused(run, arguments, message):
    with pytest.raises(UserError, match=message):
        run.directions(**arguments)


def test_the_command_writes_directions_and_a_labelled_picture_of_each(tiny_run, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert main(["directions", "--run", tiny_run, "--out", str(folder), "--num", "2", "--classes", "4,6"]) == 0
    assert "directions.npz" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ["direction_01.png", "direction_02.png", "directions.npz"]
    assert len(read_directions(str(folder / "directions.npz"), z_dim=6).directions) == 2
    with Image.open(folder / "direction_01.png") as picture:
        width, height = picture.size
    assert 7 * 64 < width < 8 * 64
    assert 2 * 64 < height < 3 * 64


def test_columns_of_a_grid_are_named():
    images = np.full((4, 32, 32, 3), 7, np.uint8)
    grid = image_grid(images, columns=2, row_names=["a", "b"], column_names=["left", "much too long"])
    header = grid[:-64, -64:]
    assert header.max() == 255
    for column in (header[:, :32], header[:, 32:]):
        assert column.min() < 100
    assert (grid[-64:, -64:] == 7).all()
    assert (grid[:-64, :-64] == 255).all()
