"""Named evaluation protocols, and protocol cards, which record how a result was made."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
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
"""Settings that leave the scores of a protocol as they are, or that only add scores."""

_BESIDE = ("protocol", "versions")
_NAMES = {"classifier": ("handle",), **dict.fromkeys(("validation", "train"), ("name", "version", "split", "examples"))}
"""Entries of a card that inform readers and do not affect a score; see :func:`card_id`."""


def get_protocol(name: str) -> EvaluationConfig:
    """Returns the protocol of that name.

    Raises:
        UserError: there is no such protocol; the message names the nearest one, or all.

    Example:
        >>> from hamgan.config.protocols import get_protocol
        >>> get_protocol("published").num_samples
        50176
    """
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS) or f"; expected one of {', '.join(PROTOCOLS)}"
        raise UserError(f"unknown protocol '{name}'{hint}")
    return PROTOCOLS[name]


def describe(settings: EvaluationConfig) -> str:
    """Returns the name of a protocol and the settings that differ from it, such as "standard with num_samples=2000"."""
    named = get_protocol(settings.protocol)
    changes = [
        f"{field.name}={getattr(settings, field.name)}"
        for field in dataclasses.fields(settings)
        if field.name not in _NOT_COMPARED and getattr(settings, field.name) != getattr(named, field.name)
    ]
    return f"{settings.protocol} with {', '.join(changes)}" if changes else settings.protocol


def card_id(card: Mapping[str, Any]) -> str:
    """Returns an id of eight hexadecimal digits. Results with equal ids are comparable and share a curve.

    The id depends on everything that changes a score: digests of the data and of the classifier, weights, counts, seed,
    truncation, batch normalisation, resolution and preprocessing. It does not depend on names, handles, folders,
    versions of packages or the checkpoint.
    """
    return hashlib.sha256(json.dumps(_identity(card), sort_keys=True).encode()).hexdigest()[:8]


def _identity(card: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a card that change a score."""
    return {name: _without(value, _NAMES.get(name, ())) for name, value in _without(card, _BESIDE).items()}


def with_card_ids(
    results: Sequence[Mapping[str, Any]], made_now: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Returns results with the ids of their cards, for results of any version of this package.

    Earlier cards hold versions of packages, and a digest of the data set's description instead of its contents. Such a
    card gets the digest of the contents from results that record both, unless they disagree: then the data set was
    prepared again with other contents and the same description.

    Args:
        results: results with a "card", and a "provenance" if they were written by this version.
        made_now: cards and provenances of the current evaluation in the same format, a further source of digests.
    """
    contents: dict[tuple[str, int], set[str]] = {}
    for result in (*results, *made_now):
        for split, recorded in result.get("provenance", {}).get("data", {}).items():
            known = (recorded["described_sha256"], result["card"]["images"][split])
            contents.setdefault(known, set()).add(result["card"][split]["sha256"])
    cards = [_with_contents(result["card"], contents) for result in results]
    return [{**result, "card": card, "card_id": card_id(card)} for result, card in zip(results, cards, strict=True)]


def _with_contents(card: Mapping[str, Any], contents: Mapping[tuple[str, int], set[str]]) -> Mapping[str, Any]:
    """Replaces the digest of metadata in an earlier card by that of the contents, if it is known."""
    if "versions" not in card:
        return card
    changed = dict(card)
    for split in ("validation", "train"):
        known = contents.get((card[split]["sha256"], card["images"][split]), set()) if split in card else set()
        if len(known) == 1:
            changed[split] = {**card[split], "sha256": next(iter(known))}
    return changed


def _without(value: Any, names: Sequence[str]) -> Any:
    return {name: inner for name, inner in value.items() if name not in names} if isinstance(value, Mapping) else value


def most_comparable(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the results of the card that most steps have; among several such cards, of the one with the most images.

    Results whose FID is not finite are ignored.
    """
    groups = list(by_card([result for result in results if has_score(result, "fid")]).values())
    return max(
        groups,
        key=lambda group: (len(group), group[0]["card"]["images"]["fake"], group[0]["card_id"]),
        default=[],
    )


def has_score(result: Mapping[str, Any], name: str) -> bool:
    """Whether a result has a finite score of that name."""
    return is_finite(result["scores"].get(name))


def is_finite(value: Any) -> bool:
    """Whether a value read from a result is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def by_card(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns lists of comparable results, by the ids of their cards."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["card_id"], []).append(result)
    return groups


def card_labels(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a short name for each of several cards: the weights, and whatever else distinguishes them."""
    flat = [_flat(_identity(card)) for card in cards]
    names = sorted({name for card in flat for name in card} - {"weights"})
    telling = [name for name in names if len({json.dumps(card.get(name)) for card in flat}) > 1]
    return [
        ", ".join([f"{card.get('weights')} weights", *(f"{name} {_short(card.get(name))}" for name in telling)])
        for card in flat
    ]


def flat_card(card: Mapping[str, Any]) -> dict[str, str]:
    """Returns the entries of a card as text, by dotted name."""
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
