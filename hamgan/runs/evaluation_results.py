"""Files of evaluation results: validation, names and merging."""

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from hamgan.config.protocols import with_card_ids
from hamgan.errors import UserError

_FILE = re.compile(r"step_(\d+)_([0-9a-f]+)(_[0-9a-f]+)?\.json")
_DEFAULTS: dict[str, Any] = {
    "checkpoint": None,
    "source": None,
    "time": 0.0,
    "real": {},
    "spread": {},
    "standard_errors": {},
    "fid_infinity": None,
    "intra_fid": {},
    "extras": {},
}


class ResultKey(NamedTuple):
    """Identity of a result.

    Args:
        step: step of the checkpoint.
        checkpoint: SHA-256 of the checkpoint.
        card_id: id of the protocol card.
    """

    step: int
    checkpoint: str | None
    card_id: str

    @property
    def file_name(self) -> str:
        """Name of the result's file in a run's ``evaluations/``."""
        checkpoint = "" if self.checkpoint is None else f"_{self.checkpoint[:8]}"
        return f"step_{self.step:08d}_{self.card_id}{checkpoint}.json"


def step_of_file(name: str) -> int | None:
    """Returns the step in a result's file name, or None for other files.

    File names of earlier versions do not include the checkpoint.
    """
    match = _FILE.fullmatch(name)
    return int(match[1]) if match else None


def key_of(result: Mapping[str, Any]) -> ResultKey:
    """Returns the key of a result."""
    return ResultKey(result["step"], result["checkpoint"], result["card_id"])


def checked_result(result: Any, path: str) -> dict[str, Any]:
    """Validates a result and fills in its optional entries.

    Args:
        result: parsed JSON content of the file.
        path: path of the file, for error messages.

    Raises:
        UserError: if the content is not a result.
    """
    if not _is_result(result):
        raise UserError(f"{path} is damaged (expected a step, scores and a card); delete it")
    return with_defaults(result)


def with_defaults(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result with defaults for missing optional entries."""
    return {**_DEFAULTS, **result}


def _is_result(result: Any) -> bool:
    try:
        entries = with_defaults(result)
        # Fails if the card lacks the entries that its id depends on.
        with_card_ids([entries])
        scores = [entries[name].values() for name in ("scores", "real", "spread", "standard_errors")]
        return (
            isinstance(entries["step"], int)
            and isinstance(entries["card"]["images"]["fake"], int)
            and all(isinstance(entries[name], str | None) for name in ("checkpoint", "source"))
            and isinstance(entries["extras"], dict)
            and all(isinstance(value, int | float) for value in (entries["time"], *entries["intra_fid"].values()))
            and all(_is_number_or_none(value) for value in itertools.chain(*scores))
            and all(_is_number_or_none(value) for value in (entries["fid_infinity"], entries["card"].get("truncation")))
        )
    except (AttributeError, KeyError, TypeError):
        return False


def _is_number_or_none(value: Any) -> bool:
    return value is None or isinstance(value, int | float)


def merged(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two results with the same key: the later scores, and those that only the earlier one has."""
    result = {**earlier, **later}
    for name in ("standard_errors", "intra_fid"):
        result[name] = {**earlier[name], **{key: value for key, value in later[name].items() if value is not None}}
    if later["fid_infinity"] is None:
        result["fid_infinity"] = earlier["fid_infinity"]
    if earlier["source"] is None:
        # A result of the run's own checkpoint stays so, even if the checkpoint has been deleted.
        result["source"] = None
    result["extras"] = {**earlier["extras"], **{key: value for key, value in later["extras"].items() if value}}
    return result
