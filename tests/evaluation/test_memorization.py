import re

import numpy as np
import pytest

import hamgan
from hamgan.cli.main import main
from hamgan.data.dataset import ClassificationDataset
from hamgan.errors import UserError
from hamgan.evaluation.classifier import Classifier
from hamgan.evaluation.memorization import NearestTrainingImages, nearest_training_images
from hamgan.evaluation.memorization_page import write_memorization_page
from hamgan.sampling.grids import to_uint8
from hamgan.sampling.sampler import Sampler

# Compiling takes longer than sampling a few images; the tests of sampling compile.
pytestmark = pytest.mark.usefixtures("eager")

NUM = 10


@pytest.fixture(scope="module")
def found(trained_run, classifier_path, cache_dir):
    return hamgan.nearest_training_images(
        trained_run.path, num=NUM, neighbors=3, rows=2, classifier=classifier_path, cache_dir=cache_dir, seed=4
    )


def _real(config, split, count):
    ((images, labels),) = ClassificationDataset(config.data).evaluation_batches(
        split, resolution=32, batch=count, last=count
    )
    return images, labels.numpy()


def test_neighbors_are_the_nearest_training_images_of_the_samples(found, trained_run, evaluation_config):
    classifier = Classifier(evaluation_config.evaluation.classifier)
    run = hamgan.load(trained_run.path)
    sampler = Sampler(run.generator, seed=4, batch=NUM)
    labels = sampler.random_labels(NUM)
    samples = next(sampler.batches(labels))
    train, train_labels = _real(evaluation_config, "train", 24)
    validation, _ = _real(evaluation_config, "validation", 24)
    fake, real, held_out = (np.float64(classifier(images)["pool_3"]) for images in (samples, train, validation))
    distances = np.linalg.norm(fake[:, np.newaxis] - real, axis=2)
    np.testing.assert_allclose(found.distances, np.sort(distances)[:, :3], rtol=1e-4)
    np.testing.assert_array_equal(found.labels, labels)
    of_validation = np.linalg.norm(held_out[:, np.newaxis] - real, axis=2).min(axis=1)
    np.testing.assert_allclose(found.validation_distances, of_validation, rtol=1e-4)
    assert (found.num_training, found.training_split_size) == (24, 1442)

    nearest = np.argsort(distances.min(axis=1))[:2].tolist()
    assert found.nearest_rows == nearest
    assert found.images.keys() == {0, 1, *nearest}
    for index, image in found.images.items():
        assert abs(to_uint8(samples[index]).astype(int) - image).max() <= 1
        for neighbor in found.indices[index].tolist():
            np.testing.assert_array_equal(found.training_images[neighbor], to_uint8(train.numpy()[neighbor]))
            assert found.training_labels[neighbor] == train_labels[neighbor]


def _distances(samples, validation, **changes):
    settings = dict.fromkeys(NearestTrainingImages.__dataclass_fields__)
    settings |= {"distances": np.reshape(samples, (-1, 1)), "validation_distances": np.asarray(validation)}
    return NearestTrainingImages(**(settings | {"num_training": 100, "training_split_size": 100} | changes))


def test_the_summary_tells_copies_from_new_images():
    validation = np.linspace(1, 2, 1001)
    new = _distances(np.linspace(1, 2, 500), validation)
    assert new.threshold == pytest.approx(1.01)
    assert new.share_of_close_samples == 0.01
    assert new.median_ratio == pytest.approx(1)
    assert new.summary().startswith("1.0% of 500 samples are closer to a training image than the closest 1% of 1,001")
    assert "does not copy training images" in new.summary()
    copies = _distances(np.concatenate([np.zeros(50), np.linspace(1, 2, 450)]), validation)
    assert copies.share_of_close_samples == pytest.approx(0.11, abs=0.002)
    assert "more than chance" in copies.summary()
    assert "does not copy" not in copies.summary()
    some = _distances([1.5], validation, num_training=20)
    assert "Only 20 of 100 training images were searched" in some.summary()


def test_the_page_shows_each_sample_beside_its_neighbors(found, tmp_path):
    write_memorization_page(found, str(tmp_path / "neighbors.html"))
    page = (tmp_path / "neighbors.html").read_text()
    # Two of the nearest and two of the first samples, each with three neighbours.
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == 4 * (1 + 3)
    assert page.count(f'alt="training image {found.indices[found.nearest_rows[0], 0]}"') >= 1
    assert f"{found.share_of_close_samples:.1%} of 10 samples are closer" in page
    assert "Only 24 of 1,442 training images were searched" in page
    assert "<svg" in page
    # Nothing is loaded from elsewhere; the names of SVG's namespaces are no links.
    assert not re.findall(r'(?:src|href)="(?!data:image/png|#)', page)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num": 0}, "must be positive, found 0"), ({"seed": -1}, "seed must be in"), ({"truncation": 0}, "truncation")],
)
def test_wrong_arguments_are_refused(trained_run, arguments, message):
    with pytest.raises(UserError, match=message):
        nearest_training_images(trained_run.path, **arguments)


@pytest.mark.slow
def test_the_command_writes_the_page(trained_run, classifier_path, cache_dir, tmp_path, capsys):
    page = tmp_path / "neighbors.html"
    arguments = ["neighbors", "--run", trained_run.path, "--classifier", classifier_path, "--out", str(page)]
    assert main([*arguments, "--num", "5", "--cache_dir", cache_dir]) == 0
    assert "5 samples are closer to a training image" in capsys.readouterr().out
    assert page.exists()
