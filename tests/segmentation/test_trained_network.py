"""A trained network and what one does with it."""

import numpy as np
import pytest
from tiny_network import CLASS_NAMES, picture, tiny_hamnet

from hamgan.errors import UserError
from hamgan.segmentation.prediction.inference import MULTI_SCALE_FLIP, MaskPredictor
from hamgan.segmentation.trained_network import NetworkInMemory, load_network_file


@pytest.fixture(scope="module")
def trained():
    return NetworkInMemory(tiny_hamnet(), CLASS_NAMES)


def test_images_may_be_one_a_batch_or_a_list(trained):
    images = np.stack([picture(33, 25, seed) for seed in (0, 1)])
    masks = trained.predict(images)
    assert masks.shape == (2, 33, 25)
    np.testing.assert_array_equal(masks, MaskPredictor(trained.network)(images))
    np.testing.assert_array_equal(trained.predict(images[1]), masks[1])
    first, second = trained.predict([images[0], picture(17, 40)])
    np.testing.assert_array_equal(first, masks[0])
    assert second.shape == (17, 40)


@pytest.mark.slow
def test_settings_of_inference(trained):
    image = picture(33, 25)
    expected = MaskPredictor(trained.network, MULTI_SCALE_FLIP)(image[np.newaxis])[0]
    np.testing.assert_array_equal(trained.predict(image, MULTI_SCALE_FLIP), expected)
    evaluation = trained.evaluate_pairs([(image, expected)], settings=MULTI_SCALE_FLIP)
    assert evaluation.mean_iou == 1
    assert evaluation.class_names == tuple(CLASS_NAMES)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)]
)
def test_other_images_are_refused(trained, image):
    with pytest.raises(UserError, match="expected uint8 images of shape"):
        trained.predict(image)


def test_names_of_classes_must_match(trained):
    with pytest.raises(UserError, match="expected names of 3 classes, found 2"):
        NetworkInMemory(trained.network, ["a", "b"])


def test_files_of_other_models_are_refused(trained, tmp_path):
    trained.network.backbone.save(tmp_path / "backbone.keras")
    with pytest.raises(UserError, match="expected a network that segments images, found resnet"):
        load_network_file(str(tmp_path / "backbone.keras"))
    with pytest.raises(UserError, match="expected a Keras file, found nothing"):
        load_network_file(str(tmp_path / "none.keras"))
