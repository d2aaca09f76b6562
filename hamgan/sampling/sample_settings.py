"""Settings of samples, apart from their number and classes."""

import dataclasses
from typing import Any

from hamgan.config import BATCH_NORM_MODES
from hamgan.errors import UserError


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """How samples are drawn.

    Args:
        seed: seed of latent vectors, initial bases and random labels, in [0, 2^31).
        truncation: bound t of latent vectors from the normal distribution truncated to [-t, t]; None does not truncate.
        batch_norm: batch normalisation statistics: "moving" averages, those of each "batch", or "standing" statistics,
            averaged over several batches of samples.
        batch: number of images per batch.

    Raises:
        UserError: if a setting is out of range.
    """

    seed: int = 0
    truncation: float | None = None
    batch_norm: str = "moving"
    batch: int = 50

    def __post_init__(self) -> None:
        """Validates the settings."""
        _require(0 <= self.seed < 2**31, "seed must be in [0, 2^31)", self.seed)
        _require(self.truncation is None or self.truncation > 0, "truncation must be positive", self.truncation)
        _require(self.batch_norm in BATCH_NORM_MODES, f"batch_norm must be {_MODES}", f"'{self.batch_norm}'")
        _require(self.batch >= 1, "batch must be positive", self.batch)


_MODES = f"{', '.join(BATCH_NORM_MODES[:-1])} or {BATCH_NORM_MODES[-1]}"


def _require(condition: bool, expected: str, found: Any) -> None:
    if not condition:
        raise UserError(f"{expected}, found {found}")
