"""Whether the features of both sides of a comparison come from the same classifier."""

import re
from typing import NamedTuple

from hamgan.errors import UserError
from hamgan.evaluation.classifier import saved_model_sha256
from hamgan.evaluation.feature_extractor import FeatureExtractor
from hamgan.evaluation.image_sources import ImageSource
from hamgan.evaluation.score_sides import Side
from hamgan.evaluation.small_classifier import is_saved_model

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Claim(NamedTuple):
    """What is known of the classifier behind features; None for what is not."""

    sha256: str | None
    name: str
    resize: str | None


def check_same_classifier(fakes: Side, reference: Side, extractor: FeatureExtractor | None) -> list[str]:
    """Checks that both sides have features of one classifier and one way of resizing.

    Args:
        fakes: one side.
        reference: the other side.
        extractor: extractor of the features of images; None where both sides are statistics.

    Returns:
        Warnings: of classifiers that cannot be compared.

    Raises:
        UserError: the classifiers, or the ways of resizing, differ.
    """
    one, other = (_claim(side, extractor) for side in (fakes, reference))
    if one.sha256 and other.sha256:
        differ = one.sha256 != other.sha256
    else:
        differ = not (one.sha256 or other.sha256) and one.name != other.name
    if differ:
        raise UserError(
            f"expected features of one classifier, found {one.name} for {fakes.name} and {other.name} for "
            f"{reference.name}; pass the right --classifier, or compute the statistics again"
        )
    if one.resize and other.resize and one.resize != other.resize:
        raise UserError(
            f"expected one way of resizing, found '{one.resize}' for {fakes.name} and '{other.resize}' for "
            f"{reference.name}; pass the other --resize, or compute the statistics again"
        )
    if (one.sha256 is None) != (other.sha256 is None):
        return [
            f"classifier {one.name} of {fakes.name} and classifier {other.name} of {reference.name} cannot be "
            "compared: if they differ, FID is plausible and wrong"
        ]
    return []


def _claim(side: Side, extractor: FeatureExtractor | None) -> _Claim:
    if isinstance(side, ImageSource):
        if extractor is None:
            raise ValueError("expected an extractor for images, received None")
        card = extractor.card()
        return _Claim(card["sha256"], _short(card["sha256"]), card["resize"])
    if side.stated is None:
        return _Claim(side.recorded["sha256"], _short(side.recorded["sha256"]), side.recorded["resize"])
    sha256 = _sha256_of(side.stated, extractor)
    return _Claim(sha256, _short(sha256) if sha256 else side.stated, None)


def _sha256_of(stated: str, extractor: FeatureExtractor | None) -> str | None:
    """Returns the SHA-256 of a classifier given by its digest, its folder or the handle in use; None for a name."""
    if _SHA256.fullmatch(stated.lower()):
        return stated.lower()
    if extractor is not None and stated == extractor.classifier.handle:
        return extractor.classifier.sha256
    return saved_model_sha256(stated) if is_saved_model(stated) else None


def _short(sha256: str) -> str:
    return sha256[:16]
