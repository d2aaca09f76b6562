import logging

import pytest

from hamgan.config import FROM_DATASET, DataConfig
from hamgan.data.splits import with_splits
from hamgan.errors import UserError


def _chosen(names, train=FROM_DATASET, validation=FROM_DATASET):
    config = with_splits(DataConfig("given", None, train, validation), names)
    return config.train_split, config.validation_split


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["test", "train", "validation"], ("train", "validation")),
        (["test", "train"], ("train", "test")),
        (["train", "extra"], ("train[10%:]", "train[:10%]")),
    ],
)
def test_splits_are_chosen_by_name(names, expected):
    assert _chosen(names) == expected


def test_explicit_splits_are_kept():
    assert _chosen(["train", "test"], "train[:50%]", "other") == ("train[:50%]", "other")
    assert _chosen(["train", "test"], train="train[:50%]") == ("train[:50%]", "test")
    assert _chosen(["train", "other"], validation="other[:5]") == ("train", "other[:5]")


def test_a_divided_training_split_is_announced(caplog):
    caplog.set_level(logging.INFO, logger="hamgan")
    _chosen(["train"])
    assert "no validation split; training on train[10%:], not train[:10%]" in caplog.text


@pytest.mark.parametrize(
    ("names", "explicit", "message"),
    [
        (["all"], {}, "has no split 'train', only all; override data.train_split"),
        (["train"], {"train": "train"}, "has no split 'validation' or 'test', only train; override data.validation_s"),
        (["train"], {"validation": "train[:5%]"}, "'train.:5%.' is part of the training split; override data.train_s"),
    ],
)
def test_splits_that_do_not_exist_are_named(names, explicit, message):
    with pytest.raises(UserError, match=message):
        _chosen(names, **explicit)
