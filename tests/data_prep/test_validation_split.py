import numpy as np
import pytest

from data_prep.validation_split import choose_validation, parse_size
from hamgan.errors import UserError


def _digests(count, first=0):
    return [f"{index:032d}".encode() for index in range(first, first + count)]


@pytest.mark.parametrize(
    ("size", "expected"), [("10%", [10, 5, 1]), ("32", [20, 10, 2]), ("0", [0, 0, 0]), ("50%", [50, 25, 5])]
)
def test_every_class_has_its_share(size, expected):
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    chosen = choose_validation(labels, _digests(160), size, seed=0)
    assert np.bincount(labels[chosen], minlength=3).tolist() == expected


def test_remainders_go_to_the_classes_that_lose_most():
    labels = np.repeat([0, 1, 2], [7, 14, 9])  # a tenth is 0.7, 1.4 and 0.9
    chosen = choose_validation(labels, _digests(30), "10%", seed=0)
    assert np.bincount(labels[chosen], minlength=3).tolist() == [1, 1, 1]


def test_a_class_keeps_a_picture_for_training():
    labels = np.array([0, 1, 1, 2, 2, 2])
    chosen = choose_validation(labels, _digests(6), "90%", seed=0)
    assert np.bincount(labels[~chosen]).tolist() == [1, 1, 1]


def test_choice_depends_on_seed_and_contents_alone():
    rng = np.random.default_rng(0)
    labels, digests = rng.integers(0, 5, 200), _digests(200)

    def chosen(order, seed):
        held_out = choose_validation(labels[order], [digests[index] for index in order], "25%", seed)
        return {int(index) for index in order[held_out]}

    first = chosen(np.arange(200), 0)
    assert len(first) == 50
    assert chosen(rng.permutation(200), 0) == first
    assert len(chosen(np.arange(200), 1) & first) < 30


def test_same_content_is_on_one_side():
    labels = np.repeat([0, 1], [60, 60])
    digests = _digests(60) + _digests(60, first=50)  # ten contents are in both classes
    digests[:50] = [digest for digest in digests[:25] for _ in range(2)]
    chosen = choose_validation(labels, digests, "50%", seed=3)
    held_out = {digest for digest, is_chosen in zip(digests, chosen, strict=True) if is_chosen}
    training = {digest for digest, is_chosen in zip(digests, chosen, strict=True) if not is_chosen}
    assert held_out
    assert not held_out & training
    assert not held_out & set(_digests(10, first=50))


@pytest.mark.parametrize("size", ["x", "-1", "100%", "1.5", "-3%", "nan%", ""])
def test_invalid_sizes_are_refused(size):
    with pytest.raises(UserError, match="--validation_split: expected a percentage such as 10%"):
        parse_size(size)


def test_all_pictures_cannot_be_held_out():
    with pytest.raises(UserError, match="expected fewer than all 4 pictures, found 4"):
        choose_validation(np.zeros(4, int), _digests(4), "4", seed=0)
