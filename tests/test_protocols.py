import copy
import dataclasses

import pytest

from hamgan.errors import UserError
from hamgan.protocols import PROTOCOLS, card_id, card_labels, describe, flat_card, get_protocol

CARD = {
    "protocol": "standard",
    "weights": "ema",
    "truncation": None,
    "images": {"fake": 10, "validation": 5},
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


def test_the_published_protocol_is_the_papers():
    published = get_protocol("published")
    assert (published.num_samples, published.repeats, published.wrap_validation) == (49 * 1024, 5, True)
    assert (published.batch_norm, published.truncation) == ("moving", None)
    assert published.classifier == "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
    standard = get_protocol("standard")
    assert (standard.num_samples, standard.repeats, standard.wrap_validation) == (50_000, 1, False)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UserError, match="unknown protocol 'publishd'; did you mean 'published'"):
        get_protocol("publishd")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_description_says_in_what_settings_differ_from_the_protocol(name):
    protocol = get_protocol(name)
    assert describe(protocol) == name
    changed = dataclasses.replace(protocol, seed=3, num_samples=70, bootstrap=9, batch=4)
    assert describe(changed) == f"{name} with num_samples=70, seed=3"


def test_cards_are_the_same_but_for_where_the_classifier_lies():
    assert card_id(CARD) == card_id(_changed(classifier__handle="there")) == card_id(_changed(protocol="other name"))
    others = [_changed(weights="raw"), _changed(truncation=0.5), _changed(images__fake=11)]
    others.append(_changed(classifier__sha256="fedcba9876543210"))
    assert len({card_id(card) for card in [CARD, *others]}) == 5


def test_labels_say_what_tells_cards_apart():
    assert card_labels([CARD]) == ["ema weights"]
    labels = card_labels([CARD, _changed(weights="raw"), _changed(images__fake=11)])
    assert labels == ["ema weights, images.fake 10", "raw weights, images.fake 10", "ema weights, images.fake 11"]


def test_a_flat_card_has_every_entry_as_text():
    assert flat_card(CARD)["images.fake"] == "10"
    assert flat_card(CARD)["truncation"] == "-"
    assert len(flat_card(CARD)) == 7
