"""Checkpoints of a run scored once each; every result is a file in the run's folder."""

import logging
import os
from typing import Any

from hamgan.config import protocols
from hamgan.distribution.strategies import agreed, is_chief
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.runs.directory import RunDirectory
from hamgan.runs.evaluation_results import ResultKey, key_of
from hamgan.runs.score_table import one_line

_logger = logging.getLogger(__name__)


def evaluate_checkpoints(
    evaluator: Evaluator, run: RunDirectory, checkpoints: list[tuple[int, str]], weights: str
) -> list[dict[str, Any]]:
    """Scores checkpoints and writes each result into the run's folder; results made the same way are kept.

    A checkpoint that is not the one that the run has for its step is written with its path as "source", and enters none
    of the run's curves.

    Args:
        evaluator: evaluator that scores them.
        run: the run.
        checkpoints: (step, path) of each.
        weights: "ema" or "raw".

    Returns:
        The results, in the order of ``checkpoints``; none to processes other than the chief.
    """
    results = []
    chief = is_chief(evaluator.strategy)
    card_id, earlier = _earlier_results(evaluator, run, weights) if chief else ("", [])
    for step, path in checkpoints:
        known = _find(earlier, ResultKey(step, checkpoint_sha256(path), card_id), evaluator) if chief else None
        source = _source(run, step, path) if chief else None
        if agreed(evaluator.strategy, int(known is not None)):
            _logger.info("Step %d: scored before", step)
            if known is not None and known["source"] is not None and source is None:
                known = run.write_evaluation({**known, "source": None})
        else:
            _logger.info("Step %d: %d images", step, evaluator.settings.num_samples * evaluator.settings.repeats)
            made = evaluator.evaluate(path, weights)
            if made is not None:
                known = run.write_evaluation({"step": step, "weights": weights, "source": source, **made})
                _logger.info("Step %d: %s", step, one_line(known))
                evaluator.forget_fakes()
        if known is not None:
            results.append(known)
    return results


def _source(run: RunDirectory, step: int, path: str) -> str | None:
    """Where a checkpoint was read from; None if it is the run's own of that step, wherever it was read from."""
    if checkpoint_sha256(path) == run.checkpoint_sha256(step):
        return None
    return path if "://" in path else os.path.abspath(path)


def _earlier_results(evaluator: Evaluator, run: RunDirectory, weights: str) -> tuple[str, list[dict[str, Any]]]:
    """The id of the card that results have now, and all results that the run has."""
    card = evaluator.card(weights)
    return protocols.card_id(card), run.read_evaluations([{"card": card, "provenance": evaluator.provenance()}])


def _find(earlier: list[dict[str, Any]], key: ResultKey, evaluator: Evaluator) -> dict[str, Any] | None:
    """The result of a key with all that is asked for, if there is one."""
    return next((result for result in earlier if key_of(result) == key and _is_enough(evaluator, result)), None)


def _is_enough(evaluator: Evaluator, result: dict[str, Any]) -> bool:
    """Whether a result has the scores that are asked for beside the others."""
    settings = evaluator.settings
    return (
        settings.bootstrap in (0, result["extras"].get("bootstrap"))
        and not (settings.fid_infinity and result["fid_infinity"] is None)
        and {str(label) for label in evaluator.intra_classes} <= result["intra_fid"].keys()
    )
