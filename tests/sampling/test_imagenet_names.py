import dataclasses
import pathlib
import shutil

import pytest

import hamgan
from data_prep.ilsvrc import synsets
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.imagenet_names import imagenet_synsets, readable_names, synset_names

EARLIER = pathlib.Path(__file__).parents[1] / "runs" / "run_e872773"


def test_the_order_is_that_of_tfds_labels():
    assert imagenet_synsets() == list(synsets())
    assert imagenet_synsets()[281] == "n02123045"


def test_synsets_have_readable_names_and_other_names_stay():
    assert synset_names("n02123045") == ("tabby", "tabby cat")
    assert synset_names("tabby") == ()
    assert readable_names(["n02099601", "roses", "n99999999"]) == ["golden retriever", "roses", "n99999999"]
    assert len(set(readable_names(imagenet_synsets()))) == 998


@pytest.mark.parametrize("dataset", ["imagenet2012", "imagenet_hamgan/128:1.0.0", "photographs"])
def test_a_run_without_names_has_those_of_its_data_set_if_that_is_imagenet(dataset, tmp_path):
    directory = RunDirectory(str(shutil.copytree(EARLIER, tmp_path / "run")))
    config = directory.read_config()
    model = dataclasses.replace(config.model, num_classes=1000)
    directory.write_config(
        dataclasses.replace(config, model=model, data=dataclasses.replace(config.data, dataset=dataset))
    )
    names = hamgan.load(directory.path).class_names
    assert names[281] == ("281" if dataset == "photographs" else "n02123045")
    directory.write_class_names([f"class {label}" for label in range(1000)])
    assert hamgan.load(directory.path).class_names[281] == "class 281"
