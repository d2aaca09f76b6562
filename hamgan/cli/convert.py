"""Convert checkpoints of the published implementation, in both directions.

hamgan convert --official DIR/model.ckpt-STEP --out RUN [--preset hamgan_strong]
    Turns a published TF1 checkpoint into a run for 'hamgan sample' and 'hamgan evaluate'. The architecture is that of
    the checkpoint; a preset checks it. The kind, rank, steps and sections of a Hamburger are not recorded there: they
    come from the preset (default: hamgan_strong), or from --override model.generator.context.0.rank=16 and so on.

hamgan convert --to-official --run RUN [--checkpoint STEP] --out DIR
    Writes the networks of a run as DIR/model.ckpt-STEP.
"""

import argparse

from hamgan.cli.options import add_checkpoint, add_override
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    direction = parser.add_mutually_exclusive_group(required=True)
    direction.add_argument(
        "--official", metavar="PATH", help="path of a published checkpoint, without suffix; local or gs://"
    )
    direction.add_argument("--to-official", action="store_true", help="write a published checkpoint")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the new run, or folder to write into")
    parser.add_argument("--preset", metavar="NAME", help="with --official: expected architecture")
    add_override(parser)
    parser.add_argument("--run", metavar="DIR", help="with --to-official: run folder")
    add_checkpoint(parser, "with --to-official: latest, best, a step, or the path of a checkpoint")


def run(arguments: argparse.Namespace) -> None:
    """Runs the command."""
    if arguments.to_official:
        _to_official(arguments)
    else:
        _from_official(arguments)


def _from_official(arguments: argparse.Namespace) -> None:
    given = {
        "--run": arguments.run is not None,
        "--weights": arguments.weights is not None,
        "--checkpoint": arguments.checkpoint != "latest",
    }
    for option in (option for option, is_given in given.items() if is_given):
        raise UserError(f"{option} requires --to-official; a published checkpoint is given by its path")

    from hamgan.config.presets import get_preset

    preset = get_preset(arguments.preset) if arguments.preset else None
    import_tensorflow_quietly()
    from hamgan.published.convert import convert_official, not_recorded

    conversion = convert_official(arguments.official, arguments.out, preset=preset, overrides=arguments.override)
    print(f"Run      {arguments.out}, step {conversion.step}")
    print(f"Loaded   {len(conversion.loaded)} variables")
    print(f"Ignored  {len(conversion.ignored)}{''.join(f'{chr(10)}         {name}' for name in conversion.ignored)}")
    print("Not recorded in the checkpoint, taken from preset and overrides:")
    for field, value in not_recorded(conversion.config).items():
        print(f"         {field} = {value}")


def _to_official(arguments: argparse.Namespace) -> None:
    if arguments.run is None:
        raise UserError("--to-official requires --run, the folder of the run to convert")
    if arguments.preset is not None or arguments.override:
        raise UserError("--preset and --override require --official; the config of a run describes its networks")
    import_tensorflow_quietly()
    from hamgan.published.convert import convert_to_official
    from hamgan.runs.directory import RunDirectory
    from hamgan.sampling.trained_weights import choose_weights, find_checkpoint

    run_directory = RunDirectory(arguments.run)
    config = run_directory.read_config()
    step, path = find_checkpoint(run_directory, arguments.checkpoint)
    # A published checkpoint holds the raw weights: the average must be requested.
    weights = choose_weights(config, arguments.weights or "raw")
    print(f"Written  {convert_to_official(config, path, arguments.out, step=step, weights=weights)}")
