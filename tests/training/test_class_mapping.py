import pytest

from hamgan.training.class_mapping import Classes, matching_labels, starting_labels

NUMBERS = ("0", "1", "2")


def _classes(dataset, names, count=None):
    return Classes(dataset, len(names) if count is None else count, names)


@pytest.mark.parametrize(
    ("source", "new", "expected"),
    [
        (_classes("pets", ("cat", "dog", "emu")), _classes("zoo", ("emu", "cow", "cat")), [2, None, 0]),
        # Numbers that are not labels are names: a subset of the digits.
        (_classes("digits", NUMBERS), _classes("few_digits", ("2", "0")), [2, 0]),
        (_classes("few_digits", ("2", "0")), _classes("digits", NUMBERS), [1, None, 0]),
        # Numbers that are labels are not.
        (_classes("digits", NUMBERS), _classes("colours", NUMBERS), [None] * 3),
        (_classes("digits", NUMBERS), _classes("colours", ("red", "1")), [None, 1]),
        (_classes("digits:1.0.0", NUMBERS), _classes("digits:2.0.0", ("0", "1")), [0, 1]),
        (_classes("birds/small", NUMBERS), _classes("birds/large", NUMBERS), [None] * 3),
        # Earlier and converted runs did not record names.
        (_classes("pets", None, 2), _classes("pets", ("cat", "dog")), [0, 1]),
        (_classes("pets", None, 3), _classes("pets", ("cat", "dog")), [None, None]),
        (_classes("pets", None, 2), _classes("zoo", ("cat", "dog")), [None, None]),
        (_classes("imagenet2012", None, 2), _classes("imagenet_hamgan/128", ("n01440764", "n01443537")), [0, 1]),
        (_classes("imagenet_hamgan/64", None, 2), _classes("imagenet_hamgan/128", ("n01440764", "n01443537")), [0, 1]),
    ],
)
def test_classes_correspond_by_names_that_mean_something(source, new, expected):
    assert matching_labels(source, new) == expected


@pytest.mark.parametrize(
    ("matches", "count", "expected"),
    [
        ([2, None, 0], 3, [2, 1, 0]),
        ([None, 1, None, None], 3, [0, 1, 2, 0]),
        ([1, None, 0, None, None], 2, [1, 0, 0, 1, 0]),
        ([None, None], 1000, [0, 1]),
    ],
)
def test_other_classes_start_from_classes_of_their_own_as_far_as_they_suffice(matches, count, expected):
    assert starting_labels(matches, count) == expected
