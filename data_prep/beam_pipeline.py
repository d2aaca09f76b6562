"""Writing shards as an Apache Beam pipeline: on a cluster, or with Beam's local runner."""

import contextlib
import io
from collections.abc import Sequence

from data_prep.shards import Shard, Target, write_shard
from hamgan.errors import FailedError, UserError


def write_with_beam(shards: Sequence[Shard], targets: list[Target], options: Sequence[str]) -> None:
    """Writes shards wherever the pipeline's options say.

    What a shard needs and leaves is on storage that all machines share, so a pipeline that was stopped can be started
    again, or finished without Beam.

    Args:
        shards: what to write.
        targets: the forms and their folders.
        options: Beam's pipeline options, such as ``runner=DataflowRunner``.

    Raises:
        UserError: Apache Beam is not installed, or does not know an option.
        FailedError: the pipeline failed; what it has written is kept.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(f"--beam needs Apache Beam ({error}); install it with: pip install 'hamgan[beam]'") from error
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # argparse explains every option before it says what is wrong
            parsed = PipelineOptions([f"--{option.removeprefix('--')}" for option in options])
            parsed.get_all_options()
            pipeline = beam.Pipeline(options=parsed)
    except (Exception, SystemExit) as error:  # argparse, runners and clouds each have their own
        reason = _last_line(said.getvalue() if isinstance(error, SystemExit) else str(error))
        raise UserError(f"--beam: Apache Beam refuses {' '.join(options)}: {reason}") from error
    try:
        with pipeline:
            (
                pipeline
                | "Shards" >> beam.Create(list(shards), reshuffle=True)
                | "Write" >> beam.Map(write_shard, targets)
            )
    except Exception as error:  # what a worker raised, as the runner wraps it
        raise FailedError(
            f"the Apache Beam pipeline failed: {_last_line(str(error))}; the same command resumes from what is written"
        ) from error


def _last_line(text: str) -> str:
    """What went wrong: usage, or a worker's traceback, comes before it."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason is given"
