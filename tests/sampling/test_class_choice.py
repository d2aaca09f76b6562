import types

import pytest

from hamgan.errors import UserError
from hamgan.sampling.class_choice import labels_of, parse_class_list
from hamgan.sampling.imagenet_names import imagenet_synsets

IMAGENET = imagenet_synsets()
FLOWERS = ["roses", "tulips", "large, blue", 'a "b"', "9", "0-1", "#3"]
FIVE_TO_NINE = ["5", "6", "7", "8", "9"]


def labels(text, names):
    return parse_class_list(text, types.SimpleNamespace(class_names=names, path="runs/x"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("roses", [0]),
        (" roses , tulips ", [0, 1]),
        ("#1,1,1-2", [1, 1, 1, 2]),
        ('"large, blue",roses', [2, 0]),
        ('"a ""b"""', [3]),
        ('a "b"', [3]),
        ('"9"', [4]),
        ("0-1", [5]),
        ('"#3"', [6]),
        ("3-3", [3]),
    ],
)
def test_text_is_a_name_or_else_a_number(text, expected):
    assert labels(text, FLOWERS) == expected


def test_integers_are_labels_and_names_may_contain_commas():
    assert labels_of([4, "large, blue", "9-9"], [*FLOWERS, "x", "y", "z"], where="runs/x") == [4, 2, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rose", r"unknown class 'rose' of runs/x; did you mean 'roses' \(0\)\?"),
        ("TULIPS", r"did you mean 'tulips' \(1\)\?"),
        ("qqqq", "unknown class 'qqqq' of runs/x; labels are 0 to 6"),
        ("9", """'9' is both a number and the name of class #4 of runs/x; write '"9"', .* for the name$"""),
        ("#3", """class #6 of runs/x; write '"#3"', with the double quotes, for the name or 3-3 for the number"""),
        ("8", "classes of runs/x are 0 to 6, found 8"),
        ("5-3", "0 to 6, found 5-3"),
        ("2-99999999999999", "0 to 6, found 2-99999999999999"),
        ("large, blue", "unknown class 'large'"),
        ("roses,", "found an empty one in 'roses,'"),
        ("", "found an empty one in ''"),
        ('"roses', 'in double quotes, found "roses'),
        ('"roses"x', 'in double quotes, found "roses"x'),
    ],
)
def test_text_that_is_no_class_or_several_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        labels(text, FLOWERS)


@pytest.mark.parametrize("label", [-1, 7])
def test_integers_out_of_range_are_refused(label):
    with pytest.raises(UserError, match=f"classes of runs/x are 0 to 6, found {label}"):
        labels_of([label], FLOWERS, where="runs/x")


def test_a_number_that_is_the_name_of_another_class_is_refused():
    assert labels('2,#2,"7",0-1', FIVE_TO_NINE) == [2, 2, 2, 0, 1]
    with pytest.raises(UserError, match="'7' is both a number and the name of class #2"):
        labels("7", FIVE_TO_NINE)
    with pytest.raises(UserError, match="for the name or #1 for the number"):
        labels("1", ["1", "0"])
    # The digits are named by their labels.
    assert labels("7", [str(digit) for digit in range(10)]) == [7]


@pytest.mark.parametrize("text", ["tabby", "n02123045", "281", "#281", '"tabby"'])
def test_classes_of_imagenet_have_readable_names_and_wordnet_ids(text):
    assert labels(text, IMAGENET) == [281]


def test_equal_names_are_told_apart_by_wordnet_id():
    message = (
        r"'crane' is the name of 2 classes of runs/x: #134 \(n02012849\) and #517 \(n03126707\); "
        "write n02012849 or n03126707"
    )
    with pytest.raises(UserError, match=message):
        labels("crane", IMAGENET)
    assert labels("n02012849,n03126707", IMAGENET) == [134, 517]
    with pytest.raises(UserError, match=r"#638 \(n03710637\) and #639 \(n03710721\)"):
        labels("maillot", IMAGENET)
    with pytest.raises(UserError, match="'cat' is the name of 2 classes of runs/x: #0 and #2; write #0 or #2"):
        labels("cat", ["cat", "dog", "cat"])


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("tabby cat", "did you mean 'tabby' (281, n02123045)?"),
        ("golden", "did you mean 'golden retriever' (207, n02099601)?"),
        ("golden retreiver", "did you mean 'golden retriever' (207, n02099601)?"),
        ("cat", "'tabby' (281, n02123045), 'tiger cat' (282, n02123159) or 'Persian cat' (283, n02123394)?"),
        ("n02123046", "of runs/x"),
    ],
)
def test_near_names_are_suggested(text, suggestion):
    with pytest.raises(UserError) as error:
        labels(text, IMAGENET)
    assert suggestion in str(error.value)
