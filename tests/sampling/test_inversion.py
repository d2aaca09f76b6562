import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import hamgan
from hamgan.cli.main import main
from hamgan.errors import UserError
from hamgan.layers import ConditionalBatchNormalization
from hamgan.random_streams import Purpose, fold
from hamgan.sampling.inversion import Inversion, invert, write_inversion
from hamgan.sampling.latents import Latents, read_latents

FEW = {"starts": 2, "steps": 25}


@pytest.fixture(scope="module")
def run(tiny_run):
    """A run whose images depend on z and the class: six steps of training teach them little."""
    run = hamgan.load(tiny_run)
    rng = np.random.default_rng(0)
    run.generator.dense.kernel.assign(rng.normal(size=run.generator.dense.kernel.shape))
    for layer in run.generator._flatten_layers():
        if isinstance(layer, ConditionalBatchNormalization):
            for variable in layer.trainable_variables:
                variable.assign(variable + rng.normal(size=variable.shape))
    return run


def _psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((np.float64(one) - other) ** 2))


def colors(images):
    """A classifier whose features are mean colours, and which prefers class 4."""
    logits = tf.one_hot(tf.fill((tf.shape(images)[0],), 4), 10)
    return {"logits": logits, "pool_3": tf.reduce_mean(images, axis=(1, 2))}


@pytest.fixture(scope="module")
def target(run):
    return run.sample([4], seed=11)[0]


@pytest.fixture(scope="module")
def inverted(run, target):
    return invert(run, target, classes=[9, "4", 4], classifier=colors, **FEW)


def test_inversion_finds_the_image_and_its_class(run, target, inverted):
    others = [_psnr(target, image) for image in run.sample([4], per_class=8, seed=12)]
    assert inverted.psnr == pytest.approx(_psnr(target, inverted.reconstruction))
    assert inverted.psnr > max(others) + 3
    np.testing.assert_array_equal(inverted.target, target)
    features = [colors(image[np.newaxis] / np.float32(127.5) - 1)["pool_3"][0] for image in
                (target, inverted.reconstruction)]  # fmt: skip
    distance = np.linalg.norm(features[1] - features[0]) / np.linalg.norm(features[0])
    assert inverted.feature_distance == pytest.approx(distance, rel=1e-4)
    assert inverted.label == 4
    assert inverted.class_losses[4] < inverted.class_losses[9]
    assert len(inverted.class_losses) == 2
    np.testing.assert_array_equal(inverted.latents.class_weights, np.eye(10, dtype=np.float32)[[4]])


def test_the_latent_vector_gives_the_reconstruction_with_the_bases_of_sample_0(run, inverted):
    bases = run.generator.draw_inputs(fold(0, Purpose.SAMPLES), count=1).initial_bases
    image = run.generator(inverted.latents.z, np.array([inverted.label]), bases).numpy()[0]
    assert abs(np.round((image + 1) * 127.5) - inverted.reconstruction).max() <= 1


@pytest.mark.slow
def test_the_prior_keeps_the_latent_vector_short(run, target, inverted):
    short = run.invert(target, classes=[4], prior_weight=10.0, starts=2, steps=100)
    assert short.class_losses == {}
    assert np.linalg.norm(short.latents.z) < 0.5 * np.linalg.norm(inverted.latents.z)
    assert short.psnr < inverted.psnr
    assert short.feature_distance is None


@pytest.mark.slow
def test_a_classifier_of_the_same_classes_chooses_those_to_try(run, target, monkeypatch):
    monkeypatch.setattr("hamgan.sampling.inversion._CLASSES_BY_LOGITS", 2)
    monkeypatch.setattr("hamgan.sampling.inversion.MOST_CLASSES", 9)
    found = invert(run, target, classifier=colors, starts=1, steps=1)
    assert found.class_losses.keys() == {4, 0}
    with pytest.raises(UserError, match="10 classes, and at most 9 can be tried"):
        invert(run, target, starts=1, steps=1)


def test_a_classifier_without_gradient_is_refused(run, target):
    def classifier(images):
        return {name: tf.stop_gradient(value) for name, value in colors(images).items()}

    with pytest.raises(UserError, match="have no gradient"):
        invert(run, target, classes=[4], classifier=classifier, **FEW)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"starts": 0}, "must be positive, found 0"),
        ({"classes": []}, "at least one class"),
        ({"classes": ["nine"]}, "unknown class 'nine'"),
        ({"learning_rate": 0.0}, "learning rate must be positive"),
        ({"prior_weight": -1.0}, "must not be negative"),
        ({"seed": -1}, "seed must be in"),
    ],
)
def test_wrong_arguments_are_refused(run, target, arguments, message):
    with pytest.raises(UserError, match=message):
        invert(run, target, **arguments)


def test_an_image_of_another_size_is_refused(run):
    with pytest.raises(UserError, match=r"expected an image of shape \(32, 32, 3\), found \(16, 16, 3\)"):
        invert(run, np.zeros((16, 16, 3), np.uint8))


def test_the_picture_shows_target_reconstruction_and_difference(tmp_path):
    latents = Latents(np.zeros((1, 6), np.float32), np.eye(10, dtype=np.float32)[[3]])
    one, other = (np.full((32, 32, 3), value, np.uint8) for value in (200, 210))
    written = write_inversion(Inversion(latents, 3, one, other, 28.0, None, {}), str(tmp_path / "new"))
    read = read_latents(written[0], z_dim=6, num_classes=10)
    np.testing.assert_array_equal(read.class_weights, latents.class_weights)
    picture = np.asarray(Image.open(written[1]))
    assert picture.shape[1] == 3 * 128
    assert [int(picture[-1, column, 0]) for column in (0, 200, 383)] == [200, 210, 10]


@pytest.mark.slow
def test_the_command_inverts_a_picture(tiny_run, classifier_path, tmp_path, capsys):
    picture = tmp_path / "seven.png"
    Image.fromarray(hamgan.load(tiny_run).sample([7], seed=3)[0]).resize((50, 40)).save(picture)
    out = tmp_path / "out"
    arguments = ["invert", str(picture), "--run", tiny_run, "--out", str(out), "--class", "7", "--steps", "2"]
    assert main([*arguments, "--starts", "2", "--classifier", classifier_path]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Class 7  PSNR ")
    assert "without a classifier" not in said
    assert len(read_latents(str(out / "latents.npz"), z_dim=6, num_classes=10).z) == 1
    assert (out / "inversion.png").exists()


def test_the_command_says_that_there_is_no_classifier(tiny_run, tmp_path, capsys):
    picture = tmp_path / "gray.png"
    Image.new("L", (32, 32), 128).save(picture)
    arguments = ["invert", str(picture), "--run", tiny_run, "--out", str(tmp_path), "--class", "7", "--steps", "1"]
    assert main([*arguments, "--starts", "1", "--classifier", "none"]) == 0
    assert "feature distance none, without a classifier" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 9])
def test_generated_digits_are_reconstructed_with_25_db(seed):
    run = hamgan.load("digits")
    result = invert(run, run.sample([seed], seed=seed)[0])
    assert result.label == seed
    assert result.psnr >= 25
