"""Continuous evaluation of a run while another process trains it."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hamgan.errors import UserError
from hamgan.evaluation.evaluate import evaluate_checkpoints
from hamgan.evaluation.evaluator import Evaluator
from hamgan.runs.checkpoints import DamagedCheckpointError, checkpoint_path, checkpoint_steps
from hamgan.runs.directory import RunDirectory
from hamgan.runs.report import write_report

_logger = logging.getLogger(__name__)

POLL_SECONDS = 10.0


def watch(
    evaluator: Evaluator,
    run: RunDirectory,
    weights: str,
    *,
    timeout: float,
    poll_seconds: float = POLL_SECONDS,
    scored: Callable[[dict[str, Any]], None] = lambda result: None,
) -> bool:
    """Scores each checkpoint of a run once, in the order of their steps, as training writes them.

    Existing results are not computed again. Checkpoints that are damaged, or deleted before they are read, are skipped.
    The report is updated after each result. Training keeps the checkpoint with the best FID.

    Args:
        evaluator: evaluator, in one process.
        run: folder of the run.
        weights: "ema" or "raw".
        timeout: seconds without a new checkpoint before the watch ends.
        poll_seconds: seconds between checks of the folder.
        scored: function that is called with each result.

    Returns:
        Whether training has ended; False after the timeout.
    """
    done: set[int] = set()
    newest_at = time.monotonic()
    while True:
        # Asked before the folder is looked at: what was written last must not be missed.
        ended = has_ended(run)
        new = [step for step in checkpoint_steps(run.checkpoints) if step not in done]
        if not new:
            if ended:
                return True
            if time.monotonic() - newest_at > timeout:
                return False
            time.sleep(poll_seconds)
            continue
        step = new[0]
        done.add(step)
        try:
            results = evaluate_checkpoints(evaluator, run, [(step, checkpoint_path(run.checkpoints, step))], weights)
        except UserError as error:
            is_gone = step not in checkpoint_steps(run.checkpoints)
            if not is_gone and not isinstance(error, DamagedCheckpointError):
                raise
            _logger.warning("Step %d is skipped: %s", step, "it was deleted meanwhile" if is_gone else error)
        else:
            write_report(run)
            line = logits_line(run.read_metrics(), step)
            if line is not None:
                _logger.info("%s", line)
            for result in results:
                scored(result)
        newest_at = time.monotonic()


def logits_line(metrics: Sequence[Mapping[str, Any]], step: int) -> str | None:
    """Returns the discriminator's mean logits, the newest up to a step, as one line; None if none were logged.

    Args:
        metrics: rows of the log, in the order of their steps.
        step: training step.
    """
    rows = [row for row in metrics if row["step"] <= step and {"train_logits", "validation_logits"} <= row.keys()]
    if not rows:
        return None
    row = rows[-1]
    return (
        f"Mean logits at step {row['step']:,}: training images {row['train_logits']:.3f}, validation images "
        f"{row['validation_logits']:.3f}, generated images {row.get('generated_logits', math.nan):.3f}"
    )


def has_ended(run: RunDirectory) -> bool:
    """Whether training has ended: at its last step, or by a collapse without a resume."""
    collapses = run.read_collapses()
    if collapses and collapses[-1]["action"] == "stop" and not _has_resumed(run, collapses[-1]):
        return True
    return run.read_config().train.steps in checkpoint_steps(run.checkpoints)


def _has_resumed(run: RunDirectory, collapse: dict[str, Any]) -> bool:
    """Whether training has logged steps since a collapse, which drops all rows after the last checkpoint."""
    return any(row["step"] > collapse["resumed_from"] for row in run.read_metrics())
