"""Shared fixtures: small synthetic ImageNets, and data sets prepared from them."""

import pytest
from imagenet_helpers import CLASSES, request_for

from data_prep.fake_imagenet import write_fake_imagenet
from data_prep.prepare import prepare


@pytest.fixture(scope="session")
def fakes(tmp_path_factory):
    """Folder with the same images in every layout."""
    folder = tmp_path_factory.mktemp("fake")
    for layout in ("tars", "folders", "class_folders"):
        write_fake_imagenet(
            str(folder / layout),
            layout=layout,
            classes=CLASSES,
            train_per_class=6,
            validation_per_class=3,
            flaws=True,
        )
    return folder


@pytest.fixture(scope="session")
def prepared(fakes, tmp_path_factory):
    """Folder of TFDS data sets, with the forms that tests compare with."""
    data_dir = tmp_path_factory.mktemp("prepared")
    prepare(request_for(fakes / "tars", data_dir, forms=("original", "64", "128")))
    return data_dir
