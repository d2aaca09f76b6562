import numpy as np
import pytest
import tensorflow as tf

import hamgan
from hamgan import random_streams
from hamgan.cli.main import main
from hamgan.errors import UserError
from hamgan.random_streams import Purpose
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.interpolation import latent_path, slerp, step_sizes
from hamgan.sampling.latents import Latents, save_latents

SHARES = np.linspace(0, 1, 9)


@pytest.fixture(scope="module")
def run():
    run = hamgan.load("digits")
    # The initial bases now have a clear effect.
    run.generator.context[0].sigma.assign(1.0)
    return run


def sample_inputs(run, seed, index=0):
    key = random_streams.fold(seed, Purpose.SAMPLES)
    return run.generator.draw_inputs(key, first=index, count=1, labels=tf.zeros(1, tf.int32))


def angles(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.arccos(np.clip((unit[1:] * unit[:-1]).sum(1), -1, 1))


def vectors(seed=0):
    start, end = np.random.default_rng(seed).normal(size=(2, 12))
    return start, 2 * end


def test_slerp_turns_at_constant_speed_while_the_norm_changes_linearly():
    start, end = vectors()
    path = slerp(start, end, SHARES)
    np.testing.assert_allclose(path[[0, -1]], [start, end], rtol=1e-12)
    np.testing.assert_allclose(angles(path), angles(np.stack([start, end]))[0] / 8, rtol=1e-6)
    norms = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(np.diff(norms), (np.linalg.norm(end) - np.linalg.norm(start)) / 8, rtol=1e-9)
    # In the plane of both.
    assert np.linalg.matrix_rank(np.stack([start, end, *path]), tol=1e-9) == 2


@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-9, 1e-4])
def test_slerp_between_nearly_parallel_vectors_is_nearly_straight(gap):
    start, across = vectors()
    end = 3 * start + gap * across
    expected = (1 - SHARES[:, None]) * start + SHARES[:, None] * end
    np.testing.assert_allclose(slerp(start, end, SHARES), expected, rtol=0, atol=1e-14 + 2 * gap)


@pytest.mark.parametrize("gap", [0.0, 1e-9])
def test_slerp_between_opposite_vectors_turns_half_a_circle(gap):
    start, across = vectors()
    path = slerp(start, gap * across - start, SHARES)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), np.linalg.norm(start), rtol=1e-6)
    np.testing.assert_allclose(angles(path), np.pi / 8, rtol=1e-6)
    np.testing.assert_allclose(path[-1], -start, atol=1e-6)


def test_slerp_from_zero_is_straight():
    _, end = vectors()
    np.testing.assert_allclose(slerp(np.zeros(12), end, SHARES), SHARES[:, None] * end)


def key_points(count=3):
    z = np.random.default_rng(1).normal(size=(count, 12)).astype(np.float32)
    return Latents(z, np.eye(10, dtype=np.float32)[[3, 8, 1][:count]])


def test_a_path_visits_its_key_points_with_linear_class_weights():
    points = key_points()
    z, weights = latent_path(points, frames=4)
    assert z.dtype == weights.dtype == np.float32
    assert len(z) == len(weights) == 9
    np.testing.assert_allclose(z[::4], points.z, rtol=1e-6)
    np.testing.assert_array_equal(weights[:5, [3, 8, 1]], [[1 - s, s, 0] for s in (0, 0.25, 0.5, 0.75, 1)])
    np.testing.assert_array_equal(weights.sum(axis=1), 1)


def test_a_loop_returns_without_repeating_its_first_frame():
    points = key_points()
    z, weights = latent_path(points, frames=4, loop=True)
    assert len(z) == 12
    closed = np.concatenate([z, z[:1]])
    np.testing.assert_allclose(angles(closed)[8:], angles(points.z[[2, 0]])[0] / 4, rtol=1e-4)
    np.testing.assert_array_equal(weights[8:, [1, 3]], [[1, 0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])


def equal_but_for_rounding(images, expected):
    return np.abs(images.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.slow
def test_frames_of_key_points_are_samples(run):
    frames = run.interpolate(["3", 8], seeds=[7], frames=3, rows=2)
    for index, label in ((0, 3), (-1, 8)):
        expected = run.sample([label], per_class=2, seed=7)
        assert equal_but_for_rounding(frames[index], expected.reshape(64, 32, 3))


def test_each_row_is_of_another_sample_of_the_seed(run):
    frames = run.interpolate(["3", 8], seeds=[7], frames=3, rows=2)
    assert frames.dtype == np.uint8
    assert frames.shape == (4, 64, 32, 3)
    for row in (0, 1):
        inputs = sample_inputs(run, 7, row)
        expected = [
            run.generator(inputs.z, np.array([label]), initial_bases=inputs.initial_bases)[0].numpy()
            for label in (3, 8)
        ]
        assert equal_but_for_rounding(frames[[0, -1], 32 * row :][:, :32], to_uint8(np.stack(expected)))
    assert (np.abs(frames[0].astype(int) - frames[-1]).max(axis=(1, 2)).reshape(2, 32).max(axis=1) > 50).all()


def test_all_frames_have_the_bases_of_the_first_seed_and_truncated_latent_vectors(run):
    frames = run.interpolate([5], seeds=[0, 1], frames=2, truncation=0.5)
    key = random_streams.fold(1, Purpose.SAMPLES)
    z = run.generator.draw_inputs(key, count=1, labels=tf.zeros(1, tf.int32), truncation=0.5).z

    def image_with_bases_of(seed):
        images = run.generator(z, np.array([5]), initial_bases=sample_inputs(run, seed).initial_bases)
        return to_uint8(images[0].numpy())

    assert equal_but_for_rounding(frames[-1], image_with_bases_of(0))
    assert not equal_but_for_rounding(frames[-1], image_with_bases_of(1))


def test_key_points_from_latents(run):
    z = np.concatenate([sample_inputs(run, seed).z for seed in (4, 5)])
    latents = Latents(z, np.eye(10, dtype=np.float32)[[2, 6]])
    expected = run.interpolate([2, 6], seeds=[4, 5], frames=1)
    assert equal_but_for_rounding(run.interpolate(latents=latents, seeds=[4], frames=1), expected)
    with_classes = run.interpolate([9, 1], latents=latents, seeds=[4], frames=1)
    assert equal_but_for_rounding(with_classes, run.interpolate([9, 1], seeds=[4, 5], frames=1))


def test_interpolation_between_classes_is_continuous_and_loops_close(run):
    coarse, fine = (
        step_sizes(run.interpolate([3, 8], seeds=[0], frames=frames, loop=True), loop=True) for frames in (8, 24)
    )
    assert fine.max() < 3 * fine.mean()
    assert fine[-1] < 3 * fine.mean()
    # A jump, such as that of other initial bases in each frame, would not shrink.
    assert 0.3 < fine.max() / coarse.max() < 0.45


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ([3], {}, "at least two key points.* found 1 and 1"),
        ([3, 8], {"seeds": [0, 1, 2]}, "as many classes as seeds or one of either, found 2 and 3"),
        ([3, 12], {}, "classes of .*digits are 0 to 9, found 12"),
        (None, {"seeds": [0, 1]}, "expected classes or latents as key points, found neither"),
        ([3, 8], {"frames": 0}, "frames, rows and batch must be positive, found 0"),
        ([3, 8], {"seeds": [-1]}, "seeds must be in"),
        ([3, 8], {"seeds": []}, "at least one, found"),
        ([3, 8], {"truncation": 0}, "truncation must be positive, found 0"),
        ([3, 8], {"latents": key_points(2), "truncation": 0.5}, "truncation and rows need latent vectors drawn from"),
        ([3, 8], {"latents": key_points(2), "seeds": [0, 1]}, "expected one seed, of the initial bases"),
        ([3, 8], {"latents": key_points(3)}, "as many classes as latent vectors or one of either, found 2 and 3"),
    ],
)
def test_wrong_arguments_are_refused(classes, options, message):
    with pytest.raises(UserError, match=message):
        hamgan.load("digits").interpolate(classes, **options)


def test_the_command_writes_an_animation_from_latents(tmp_path, capsys):
    latents, out = str(tmp_path / "latents.npz"), tmp_path / "digits.webp"
    save_latents(latents, key_points(3))
    arguments = ["--run", "digits", "--latents", latents, "--frames", "2", "--loop", "--scale", "2", "--out", str(out)]
    assert main(["interpolate", *arguments]) == 0
    assert capsys.readouterr().out.startswith("6 frames of step 1200; between neighbours, pixels change by ")
    assert out.read_bytes()[8:12] == b"WEBP"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--out", "x.png"],
            "expected key points: --classes, such as 3,8 for two classes, or --latents; found neither",
        ),
        (["--classes", "3,8", "--out", "x.tiff"], "expected a name that ends in .png, .gif, .webp, .mp4, found .tiff"),
        (["--classes", "3,8", "--seeds", "1,b", "--out", "x.png"], "--seeds: expected whole numbers"),
        (["--classes", "3,8", "--fps", "9", "--out", "x.png"], "fps goes with animations"),
    ],
)
def test_wrong_options_are_refused_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["interpolate", "--run", "digits", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())
