"""Reduces a run to what sampling needs: config, class names and the moving average of the generator.

  hamgan quickstart --out runs/quickstart
  python scripts/package_generator.py --run runs/quickstart/digits --out hamgan/runs/pretrained_runs/digits
  hamgan evaluate --run hamgan/runs/pretrained_runs/digits --data_dir runs/quickstart/data \
    --classifier runs/quickstart/data/digits_classifier

creates the trained generator that comes with the package, and its scores (delete the report).
"""

import argparse
import dataclasses

from hamgan.program import run_program


def package_generator(run: str, out: str, checkpoint: str) -> None:
    """Writes the reduced run.

    Args:
        run: folder of the run.
        out: new folder.
        checkpoint: "latest", "best" or a step.

    Raises:
        UserError: if the run or the checkpoint does not exist, or ``out`` exists.
    """
    import hamgan
    from hamgan.runs.checkpoints import checkpoint_path, network_variables, write_checkpoint
    from hamgan.runs.directory import RunDirectory

    trained = hamgan.load(run, checkpoint=checkpoint)
    reduced = RunDirectory(out)
    data = dataclasses.replace(trained.config.data, data_dir=None)
    reduced.create(dataclasses.replace(trained.config, data=data))
    reduced.write_class_names(trained.class_names)
    write_checkpoint(checkpoint_path(reduced.checkpoints, trained.step), network_variables(trained.generator))


def main(argv: list[str]) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder")
    parser.add_argument("--checkpoint", default="latest", metavar="WHICH", help="latest (default), best or a step")
    arguments = parser.parse_args(argv)
    package_generator(arguments.run, arguments.out, arguments.checkpoint)
    return 0


if __name__ == "__main__":
    run_program("package_generator", main)
