import copy
import dataclasses
import math

import pytest

from hamgan.config.protocols import (
    PROTOCOLS,
    card_id,
    card_labels,
    describe,
    flat_card,
    get_protocol,
    is_finite,
    most_comparable,
    with_card_ids,
)
from hamgan.errors import UserError

CARD = {
    "protocol": "standard",
    "weights": "ema",
    "truncation": None,
    "images": {"fake": 10, "validation": 5, "train": 8},
    "validation": {"name": "data", "version": "1.0.0", "split": "validation", "examples": 5, "sha256": "00"},
    "train": {"name": "data", "version": "1.0.0", "split": "train", "examples": 8, "sha256": "01"},
    "classifier": {"handle": "here", "sha256": "0123456789abcdef"},
}


def _changed(**changes):
    card = copy.deepcopy(CARD)
    for path, value in changes.items():
        *parents, name = path.split("__")
        inner = card
        for parent in parents:
            inner = inner[parent]
        inner[name] = value
    return card


def test_the_published_protocol_matches_the_paper():
    published = get_protocol("published")
    assert (published.num_samples, published.repeats, published.wrap_validation) == (49 * 1024, 5, True)
    assert (published.batch_norm, published.truncation) == ("moving", None)
    assert published.classifier == "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
    standard = get_protocol("standard")
    assert (standard.num_samples, standard.repeats, standard.wrap_validation) == (50_000, 1, False)


def test_an_unknown_protocol_is_rejected():
    with pytest.raises(UserError, match="unknown protocol 'publishd'; did you mean 'published'"):
        get_protocol("publishd")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_description_lists_settings_that_differ_from_the_protocol(name):
    protocol = get_protocol(name)
    assert describe(protocol) == name
    changed = dataclasses.replace(protocol, seed=3, num_samples=70, bootstrap=9, batch=4)
    assert describe(changed) == f"{name} with num_samples=70, seed=3"


def test_names_paths_and_versions_do_not_affect_the_card_id():
    same = [
        _changed(classifier__handle="there"),
        _changed(protocol="other name"),
        _changed(validation__name="a copy", validation__split="train[:5]", validation__version="2.0.0"),
        _changed(train__examples=99),
        {**CARD, "versions": {"numpy": "2.4.7"}},
    ]
    assert {card_id(card) for card in same} == {card_id(CARD)}


def test_everything_that_affects_a_score_changes_the_card_id():
    others = [
        _changed(weights="raw"),
        _changed(truncation=0.5),
        _changed(images__fake=11),
        _changed(classifier__sha256="fedcba9876543210"),
        _changed(validation__sha256="11"),
        _changed(train__sha256="11"),
    ]
    assert len({card_id(card) for card in [CARD, *others]}) == 7


def _earlier(described, **changes):
    """Returns a result of an earlier version, whose card holds versions and a digest of the data's description."""
    card = _changed(validation__sha256=described, train__sha256=f"{described}-train", **changes)
    return {"card": {**card, "versions": {"numpy": "2.4.6"}}, "card_id": "0ld1d"}


def _present(described, content):
    data = {"validation": {"described_sha256": described}, "train": {"described_sha256": f"{described}-train"}}
    return {
        "card": _changed(validation__sha256=content, train__sha256=f"{content}-train"),
        "provenance": {"versions": {}, "data": data},
    }


def _ids(results, made_now=()):
    return [result["card_id"] for result in with_card_ids(results, made_now)]


def test_earlier_results_get_ids_from_their_recorded_cards():
    numpys = [_earlier("d0") for _ in range(2)]
    numpys[1]["card"]["versions"]["numpy"] = "2.4.7"
    first, second = _ids(numpys)
    assert first == second != "0ld1d"
    assert len(set(_ids([_earlier("d0"), _earlier("d1"), _earlier("d0", weights="raw")]))) == 3


def test_earlier_results_share_a_curve_with_results_of_the_same_data():
    present = _present("d0", "c0")
    assert _ids([_earlier("d0"), present]) == [card_id(present["card"])] * 2
    assert _ids([_earlier("d0")], [present]) == [card_id(present["card"])]
    assert _ids([_earlier("d1"), present])[0] != card_id(present["card"])
    # The digest covers only the images used.
    assert _ids([_earlier("d0", images__validation=4), present])[0] != card_id(present["card"])


def test_data_prepared_again_with_the_same_description_is_distinguished():
    ids = _ids([_earlier("d0"), _present("d0", "c0"), _present("d0", "c1")])
    assert len(set(ids)) == 3


def test_non_finite_scores_are_not_ranked():
    def result(step, fid, seed):
        return {"step": step, "scores": {"fid": fid}, "card": {**CARD, "seed": seed}, "card_id": str(seed)}

    nans = [result(step, math.nan, 1) for step in range(3)]
    finite = [result(step, 5.0, 2) for step in range(2)]
    assert most_comparable([*nans, *finite]) == finite
    assert most_comparable(nans) == []
    assert not any(is_finite(value) for value in (math.nan, math.inf, None, "1"))


def test_labels_name_the_differences_between_cards():
    assert card_labels([CARD]) == ["ema weights"]
    labels = card_labels([CARD, _changed(weights="raw"), _changed(images__fake=11)])
    assert labels == ["ema weights, images.fake 10", "raw weights, images.fake 10", "ema weights, images.fake 11"]


def test_a_flat_card_has_every_entry_as_text():
    assert flat_card(CARD)["images.fake"] == "10"
    assert flat_card(CARD)["truncation"] == "-"
    assert len(flat_card(CARD)) == 18
