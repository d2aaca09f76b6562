"""Named evaluation protocols, and the card that says how a result was made."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hamgan.config import EvaluationConfig
from hamgan.errors import UserError, did_you_mean

PROTOCOLS: dict[str, EvaluationConfig] = {
    protocol.protocol: protocol
    for protocol in (
        # 50,000 images a side, each once.
        EvaluationConfig(protocol="standard"),
        # 49 batches of 1,024 on both sides: 176 images of the validation split count twice.
        EvaluationConfig(protocol="published", num_samples=50_176, wrap_validation=True, repeats=5),
    )
}

_NOT_COMPARED = ("protocol", "batch", "standing_passes", "bootstrap", "fid_infinity", "intra_classes")
"""Settings that leave the scores of a protocol as they are, or that count only beside others."""


def get_protocol(name: str) -> EvaluationConfig:
    """Returns the protocol of that name.

    Raises:
        UserError: there is none; names the nearest, or all.
    """
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS) or f"; there are {', '.join(PROTOCOLS)}"
        raise UserError(f"unknown protocol '{name}'{hint}")
    return PROTOCOLS[name]


def describe(settings: EvaluationConfig) -> str:
    """Returns a protocol's name and in what the settings differ from it, such as "standard with num_samples=2000"."""
    named = get_protocol(settings.protocol)
    changes = [
        f"{field.name}={getattr(settings, field.name)}"
        for field in dataclasses.fields(settings)
        if field.name not in _NOT_COMPARED and getattr(settings, field.name) != getattr(named, field.name)
    ]
    return f"{settings.protocol} with {', '.join(changes)}" if changes else settings.protocol


def card_id(card: Mapping[str, Any]) -> str:
    """Returns eight hexadecimal digits that are the same for equal cards: results to be put on one curve.

    A classifier's hash counts and the place that it was read from does not.
    """
    classifier = {name: value for name, value in card["classifier"].items() if name != "handle"}
    content = json.dumps({**card, "protocol": None, "classifier": classifier}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def most_comparable(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the results of one card: the one that most steps have, of several such the one with the most images."""
    groups = list(by_card(results).values())
    return max(
        groups,
        key=lambda group: (len(group), group[0]["card"]["images"]["fake"], group[0]["card_id"]),
        default=[],
    )


def by_card(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns results that may share a curve, by the ids of their cards."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["card_id"], []).append(result)
    return groups


def card_labels(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a short name for each of several cards: the weights, and whatever else tells them apart."""
    flat = [_flat(card) for card in cards]
    names = sorted({name for card in flat for name in card} - {"weights", "protocol", "classifier.handle"})
    telling = [name for name in names if len({json.dumps(card.get(name)) for card in flat}) > 1]
    return [
        ", ".join([f"{card['weights']} weights", *(f"{name} {_short(card.get(name))}" for name in telling)])
        for card in flat
    ]


def flat_card(card: Mapping[str, Any]) -> dict[str, str]:
    """Returns a card's entries by dotted name, as text."""
    return {name: "-" if value is None else str(value) for name, value in _flat(card).items()}


def _flat(card: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in card.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 12 else text[:8]
