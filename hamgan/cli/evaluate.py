"""Score a run's checkpoints: FID, IS, class-conditional accuracy.

FID is against the validation split. Prints a table, writes a JSON file per checkpoint into the run's folder and
renews report.html. A checkpoint that was scored the same way before is not scored again.

  hamgan evaluate --run runs/digits --checkpoint all --classifier data/digits_classifier
"""

import argparse

from hamgan.cli.options import (
    add_accelerator,
    add_checkpoint,
    add_data_dir,
    add_dry_run,
    add_override,
    add_run,
    strategy_of,
    weights_of,
    with_assignments,
)
from hamgan.config import to_json
from hamgan.errors import UserError
from hamgan.tensorflow_import import import_tensorflow_quietly

OVERRIDABLE = ("data.", "evaluation.")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_run(parser)
    add_checkpoint(parser, "latest, best, all, or a step")
    parser.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel with outputs logits and pool_3 (default: TF-GAN's Inception)",
    )
    parser.add_argument("--num_samples", type=int, metavar="N", help="images to generate, and most real images to use")
    add_data_dir(parser)
    add_override(parser)
    add_accelerator(parser)
    add_dry_run(parser)


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    for assignment in arguments.override:
        if not assignment.startswith(OVERRIDABLE):
            raise UserError(f"evaluation can override {' and '.join(OVERRIDABLE)} fields only, found '{assignment}'")

    import_tensorflow_quietly()
    from hamgan.evaluation.evaluate import evaluate_checkpoints, table
    from hamgan.generator_checkpoint import find_checkpoints
    from hamgan.report import write_report
    from hamgan.run_directory import RunDirectory
    from hamgan.training.distribution import is_multi_worker

    run_directory = RunDirectory(arguments.run)
    config = with_assignments(
        run_directory.read_config(),
        {
            "data.data_dir": arguments.data_dir,
            "evaluation.classifier": arguments.classifier,
            "evaluation.num_samples": arguments.num_samples,
        },
        arguments.override,
    )
    checkpoints = find_checkpoints(run_directory, arguments.checkpoint)
    weights = weights_of(arguments, config)
    if arguments.dry_run:
        print(f"{weights} weights of steps {', '.join(str(step) for step, _ in checkpoints)}")
        print(to_json(config), end="")
        return
    strategy = strategy_of(arguments)
    if is_multi_worker(strategy):
        raise UserError("evaluation runs in one process, but TF_CONFIG names several workers: unset TF_CONFIG")
    results = evaluate_checkpoints(config, run_directory, checkpoints, weights, strategy)
    write_report(run_directory)
    print(table(results))
    print(f"Results  {run_directory.evaluations}")
    print(f"Report   {run_directory.report_path}")
