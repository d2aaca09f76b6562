"""Score checkpoints of a run: FID, IS, KID, precision and recall, class accuracy.

FID is against the validation split. The command prints a table, writes each result into the run folder as JSON with a
card that says how it was made, and updates report.html. Results that exist already are not computed again. After an
interruption, run the same command again to resume; SIGTERM ends it with exit code 75.

  hamgan evaluate --run runs/digits --checkpoint all --classifier data/digits_classifier
  hamgan evaluate --run runs/strong --protocol published
  hamgan evaluate --run runs/strong --checkpoint best --truncation 0.2,0.5,1.0
  hamgan evaluate --run runs/strong --watch --timeout 3600
"""

import argparse
from typing import TYPE_CHECKING, Any

from hamgan.cli.options import (
    add_accelerator,
    add_checkpoint,
    add_data_dir,
    add_dry_run,
    add_override,
    add_run,
    strategy_of,
)
from hamgan.config import ExperimentConfig, to_json
from hamgan.config.protocols import PROTOCOLS, describe
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly
from hamgan.runs.pretrained import find_run
from hamgan.training.preemption import PreemptionWatch

if TYPE_CHECKING:
    from hamgan.runs.directory import RunDirectory

TIMEOUT_SECONDS = 24 * 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, all, a step, or the path of a checkpoint")
    parser.add_argument(
        "--protocol", metavar="NAME", help=f"{' or '.join(PROTOCOLS)} (default: the settings of the run)"
    )
    parser.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel with outputs logits and pool_3 (default: the run's)",
    )
    parser.add_argument(
        "--num_samples", type=int, metavar="N", help="number of images to generate, and the most real images to use"
    )
    parser.add_argument("--truncation", metavar="LIST", help="one result for each truncation, such as 0.1,0.5,1.0")
    parser.add_argument(
        "--watch", action="store_true", help="score checkpoints while training writes them, until it ends"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help=f"end --watch after so long without a new checkpoint (default: {TIMEOUT_SECONDS:.0f})",
    )
    parser.add_argument(
        "--cache_dir", metavar="DIR", help="local folder for features (default: ~/.cache/hamgan/features)"
    )
    add_data_dir(parser)
    add_override(parser)
    add_accelerator(parser)
    add_dry_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    # From the start: TensorFlow takes a while to load.
    with PreemptionWatch("SIGTERM: the features so far are kept"):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    truncations = _truncations(arguments.truncation)
    if find_run(arguments.run) != arguments.run:
        raise UserError(
            f"--run expects the folder of a run, which keeps the scores, found '{arguments.run}', a generator of the "
            f"package; hamgan score --fakes {arguments.run} --reference tfds:{arguments.run}:validation scores it"
        )
    if arguments.timeout is not None and not arguments.watch:
        raise UserError("--timeout requires --watch")
    if arguments.watch and (arguments.truncation or arguments.checkpoint != "latest"):
        raise UserError("--watch scores every new checkpoint; remove --checkpoint and --truncation")

    import_tensorflow_quietly()
    from hamgan.evaluation.evaluate import evaluation_config
    from hamgan.runs.directory import RunDirectory
    from hamgan.sampling.trained_weights import choose_weights, find_checkpoints

    run_directory = RunDirectory(arguments.run)
    config = evaluation_config(
        run_directory.read_config(),
        protocol=arguments.protocol,
        classifier=arguments.classifier,
        num_samples=arguments.num_samples,
        data_dir=arguments.data_dir,
        overrides=arguments.override,
    )
    checkpoints = [] if arguments.watch else find_checkpoints(run_directory, arguments.checkpoint)
    weights = choose_weights(config, arguments.weights)
    said = f"Protocol {describe(config.evaluation)}"
    if arguments.dry_run:
        which = "every new checkpoint" if arguments.watch else ", ".join(str(step) for step, _ in checkpoints)
        print(f"{said}; {weights} weights of steps {which}")
        print(to_json(config), end="")
        return
    print(said)
    _evaluate(arguments, config, run_directory, checkpoints, weights, truncations)


def _evaluate(
    arguments: argparse.Namespace,
    config: ExperimentConfig,
    run_directory: "RunDirectory",
    checkpoints: list[tuple[int, str]],
    weights: str,
    truncations: list[float | None],
) -> None:
    from hamgan.distribution.strategies import is_chief, is_multi_worker
    from hamgan.evaluation.evaluate import evaluate_checkpoints, evaluating
    from hamgan.evaluation.watch import watch
    from hamgan.runs.score_table import table

    strategy = strategy_of(arguments)
    if arguments.watch and is_multi_worker(strategy):
        raise UserError("--watch runs in one process, but TF_CONFIG names several workers; unset TF_CONFIG")
    with evaluating(run_directory, config, strategy, arguments.cache_dir) as evaluator:
        results: list[dict[str, Any]] = []
        if arguments.watch:
            timeout = TIMEOUT_SECONDS if arguments.timeout is None else arguments.timeout
            ended = watch(evaluator, run_directory, weights, timeout=timeout, scored=results.append)
            print("Training has ended" if ended else f"No new checkpoint for {timeout:.0f} s; stopped")
        for truncation in () if arguments.watch else truncations:
            results += evaluate_checkpoints(evaluator.at_truncation(truncation), run_directory, checkpoints, weights)
        if results and is_chief(strategy):
            print(table(results), flush=True)
    if is_chief(strategy):
        print(f"Results  {run_directory.evaluations.path}")
        print(f"Report   {run_directory.report_path}")


def _truncations(text: str | None) -> list[float | None]:
    """Reads a list such as ``0.1,0.5,1.0``."""
    if text is None:
        return [None]
    try:
        truncations = [float(item) for item in text.split(",")]
    except ValueError:
        truncations = [0.0]
    if any(not 0 < truncation < float("inf") for truncation in truncations):
        raise UserError(f"--truncation expects positive numbers such as 0.1,0.5,1.0, found '{text}'")
    return list(truncations)
