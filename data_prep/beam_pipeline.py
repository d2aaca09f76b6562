"""Writes shards as an Apache Beam pipeline, on a cluster or with Beam's local runner."""

import contextlib
import io
from collections.abc import Sequence

from data_prep.shards import Shard, Target, write_shard
from hamgan.errors import FailedError, UserError


def write_with_beam(shards: Sequence[Shard], targets: list[Target], options: Sequence[str]) -> None:
    """Writes shards on the machines that the pipeline options select.

    All input and output is on storage that the machines share. A pipeline that was stopped can therefore be resumed,
    with or without Beam.

    Args:
        shards: shards to write.
        targets: forms to write, with their folders.
        options: pipeline options of Apache Beam, such as ``runner=DataflowRunner``.

    Raises:
        UserError: Apache Beam is not installed, or rejects an option.
        FailedError: the pipeline failed; the shards written so far are kept.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(f"--beam needs Apache Beam ({error}); install it with: pip install 'hamgan[beam]'") from error
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):  # argparse prints its full usage before the error message
            parsed = PipelineOptions([f"--{option.removeprefix('--')}" for option in options])
            parsed.get_all_options()
            pipeline = beam.Pipeline(options=parsed)
    except (Exception, SystemExit) as error:  # argparse, runners and cloud clients raise their own types
        reason = _last_line(stderr.getvalue() if isinstance(error, SystemExit) else str(error))
        raise UserError(f"--beam: Apache Beam rejects {' '.join(options)}: {reason}") from error
    try:
        with pipeline:
            (
                pipeline
                | "Shards" >> beam.Create(list(shards), reshuffle=True)
                | "Write" >> beam.Map(write_shard, targets)
            )
    except Exception as error:  # runners wrap the exceptions of workers in their own types
        raise FailedError(
            f"the Apache Beam pipeline failed: {_last_line(str(error))}; run the same command again to resume"
        ) from error


def _last_line(text: str) -> str:
    """Returns the error message itself, which follows the usage text or a worker's traceback."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
