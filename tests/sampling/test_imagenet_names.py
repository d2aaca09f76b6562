from data_prep.ilsvrc import synsets
from hamgan.sampling.imagenet_names import imagenet_synsets, readable_names, synset_names


def test_the_order_is_that_of_tfds_labels():
    assert imagenet_synsets() == list(synsets())
    assert imagenet_synsets()[281] == "n02123045"


def test_synsets_have_readable_names_and_other_names_stay():
    assert synset_names("n02123045") == ("tabby", "tabby cat")
    assert synset_names("tabby") == ()
    assert readable_names(["n02099601", "roses", "n99999999"]) == ["golden retriever", "roses", "n99999999"]
    assert len(set(readable_names(imagenet_synsets()))) == 998
