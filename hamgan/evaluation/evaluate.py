"""Scores of a run's checkpoints. Each result is a file in the run folder."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from hamgan.config import ExperimentConfig, override, protocols
from hamgan.config.schema import EVALUATION_BASES
from hamgan.distribution.strategies import agreed, is_chief, worker_failures_as_preemption
from hamgan.errors import UserError
from hamgan.evaluation.evaluator import Evaluator
from hamgan.evaluation.features import DEFAULT_FOLDER
from hamgan.layers.fixed_bases import decompositions
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.runs.directory import RunDirectory
from hamgan.runs.evaluation_results import ResultKey, key_of
from hamgan.runs.report import write_report
from hamgan.runs.score_table import one_line
from hamgan.sampling.trained import Run
from hamgan.sampling.trained_weights import choose_weights, find_checkpoints

_logger = logging.getLogger(__name__)


OVERRIDABLE = ("data.", "evaluation.")
"""Settings of a run that an evaluation may change."""


def evaluate(
    run: str | Run,
    *,
    checkpoint: str | None = None,
    weights: str | None = None,
    protocol: str | None = None,
    classifier: str | None = None,
    num_samples: int | None = None,
    truncations: Sequence[float | None] = (None,),
    data_dir: str | None = None,
    cache_dir: str | None = None,
    overrides: Iterable[str] = (),
    strategy: tf.distribute.Strategy | None = None,
) -> list[dict[str, Any]]:
    """Scores checkpoints of a run and writes the results and the report into the run's folder.

    Results that exist already, made the same way, are returned as they are.

    Args:
        run: folder of the run, or a loaded run.
        checkpoint: "latest", "best", "all", a step, or the path of a checkpoint; by default, the latest one, or the one
            that was loaded.
        weights: the generator's weights, "ema" (the moving average) or "raw"; by default, "ema" if the run keeps one,
            or those that were loaded.
        protocol: name of an evaluation protocol; by default, the settings of the run.
        classifier: TF-Hub handle or SavedModel; by default, that of the run.
        num_samples: number of images to generate, and the most real images to use; by default, that of the run.
        truncations: truncations of the latent vectors, with one result each; None is the run's own.
        data_dir: folder of the TFDS data sets; by default, that of the run.
        cache_dir: local folder of features; by default, ``~/.cache/hamgan/features``.
        overrides: assignments to settings of ``data`` and ``evaluation``, such as ``evaluation.bootstrap=100``.
        strategy: strategy whose replicas share the work; by default, the current one.

    Returns:
        A result for each truncation and checkpoint, with "step", "scores" ("fid", "inception_score", ...), "real" (the
        scores of the real images), "card" (how it was made) and more. Empty in processes other than the chief.

    Raises:
        UserError: the run, a checkpoint, the data or the classifier is missing or unusable, or a setting is wrong.
        FailedError: results cannot be written.
        PreemptedError: another worker failed.

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule (NeurIPS 2017), for FID.

    Example:
        >>> import hamgan
        >>> (result,) = hamgan.evaluate("runs/digits", classifier="classifier", data_dir="data")
        >>> sorted(result["scores"])[:3]
        ['accuracy', 'coverage', 'density']
    """
    if isinstance(run, Run):
        checkpoint = run.checkpoint if checkpoint is None else checkpoint
        weights = run.weights if weights is None else weights
        run = run.path
    directory = RunDirectory(run)
    config = evaluation_config(
        directory.read_config(),
        protocol=protocol,
        classifier=classifier,
        num_samples=num_samples,
        data_dir=data_dir,
        overrides=overrides,
    )
    checkpoints = find_checkpoints(directory, checkpoint or "latest")
    weights = choose_weights(config, weights)
    strategy = strategy or tf.distribute.get_strategy()
    with evaluating(directory, config, strategy, cache_dir) as evaluator:
        return [
            result
            for truncation in truncations
            for result in evaluate_checkpoints(evaluator.at_truncation(truncation), directory, checkpoints, weights)
        ]


def evaluate_bases(run: Run, **arguments: Any) -> list[dict[str, Any]]:
    """Scores a run's generator with random bases, and with the fixed bases of exported models.

    Args:
        run: loaded run.
        arguments: arguments of :func:`evaluate`, without ``overrides``.

    Returns:
        The results of :func:`evaluate`, first those with random bases. A generator without bases has one result.

    Raises:
        UserError, FailedError, PreemptedError: as :func:`evaluate`.
    """
    kinds = EVALUATION_BASES if decompositions(run.generator) else ("random",)
    return [result for bases in kinds for result in evaluate(run, overrides=[f"evaluation.bases={bases}"], **arguments)]


@contextlib.contextmanager
def evaluating(
    run: RunDirectory, config: ExperimentConfig, strategy: tf.distribute.Strategy, cache_dir: str | None = None
) -> Iterator[Evaluator]:
    """Yields an evaluator whose results belong into a run folder, and updates the report at the end.

    Args:
        run: folder of the run.
        config: config from :func:`evaluation_config`.
        strategy: strategy whose replicas share the work.
        cache_dir: local folder for features; by default, ``~/.cache/hamgan/features``.

    Raises:
        UserError: as :func:`evaluate`, before any work.
        PreemptedError: another worker failed.
    """
    if is_chief(strategy):
        run.check_takes_results()
    with worker_failures_as_preemption(strategy):
        yield Evaluator(config, strategy, cache_dir or DEFAULT_FOLDER, run.read_class_counts(config))
    if is_chief(strategy):
        write_report(run)


def evaluation_config(
    config: ExperimentConfig,
    *,
    protocol: str | None = None,
    classifier: str | None = None,
    num_samples: int | None = None,
    data_dir: str | None = None,
    overrides: Iterable[str] = (),
) -> ExperimentConfig:
    """Returns a run's config with the settings of an evaluation; see :func:`evaluate` for the arguments.

    Raises:
        UserError: a setting is wrong, or one that an evaluation may not change.
    """
    if protocol is not None:
        settings = dataclasses.replace(protocols.get_protocol(protocol), batch=config.evaluation.batch)
        config = dataclasses.replace(config, evaluation=settings)
    options = {
        "data.data_dir": data_dir,
        "evaluation.classifier": classifier,
        "evaluation.num_samples": num_samples,
    }
    assignments = [f"{path}={value}" for path, value in options.items() if value is not None]
    for assignment in overrides:
        if not assignment.startswith(OVERRIDABLE):
            raise UserError(f"an evaluation can override {' and '.join(OVERRIDABLE)} fields only, found '{assignment}'")
        assignments.append(assignment)
    return override(config, assignments)


def evaluate_checkpoints(
    evaluator: Evaluator, run: RunDirectory, checkpoints: list[tuple[int, str]], weights: str
) -> list[dict[str, Any]]:
    """Scores checkpoints and writes each result into the run folder. Existing results made the same way are kept.

    The result of a checkpoint that does not belong to the run records its path as "source", and is not part of the
    run's curves.

    Args:
        evaluator: evaluator to use.
        run: folder of the run.
        checkpoints: (step, path) of each checkpoint.
        weights: "ema" or "raw".

    Returns:
        The results, in the order of ``checkpoints``. Empty in processes other than the chief.
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
                known = run.evaluations.write({**known, "source": None})
        else:
            _logger.info("Step %d: %d images", step, evaluator.settings.num_samples * evaluator.settings.repeats)
            made = evaluator.evaluate(path, weights)
            if made is not None:
                known = run.evaluations.write({"step": step, "weights": weights, "source": source, **made})
                _logger.info("Step %d: %s", step, one_line(known))
                evaluator.forget_fakes()
        if known is not None:
            results.append(known)
    return results


def _source(run: RunDirectory, step: int, path: str) -> str | None:
    """Returns the path of a checkpoint; None if it equals the run's own checkpoint of that step."""
    if checkpoint_sha256(path) == run.checkpoint_sha256(step):
        return None
    return path if "://" in path else os.path.abspath(path)


def _earlier_results(evaluator: Evaluator, run: RunDirectory, weights: str) -> tuple[str, list[dict[str, Any]]]:
    """Returns the id of the current protocol card, and all existing results of the run."""
    card = evaluator.card(weights)
    return protocols.card_id(card), run.evaluations.read([{"card": card, "provenance": evaluator.provenance()}])


def _find(earlier: list[dict[str, Any]], key: ResultKey, evaluator: Evaluator) -> dict[str, Any] | None:
    """Returns the result with a key and all requested scores, or None."""
    return next((result for result in earlier if key_of(result) == key and _is_enough(evaluator, result)), None)


def _is_enough(evaluator: Evaluator, result: dict[str, Any]) -> bool:
    """Whether a result has all optional scores that are requested."""
    settings = evaluator.settings
    return (
        settings.bootstrap in (0, result["extras"].get("bootstrap"))
        and not (settings.fid_infinity and result["fid_infinity"] is None)
        and {str(label) for label in evaluator.intra_classes} <= result["intra_fid"].keys()
    )
