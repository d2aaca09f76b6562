"""Writing shards as an Apache Beam pipeline: on a cluster, or with Beam's local runner."""

from collections.abc import Sequence

from data_prep.shards import Shard, Target, write_shard
from hamgan.errors import UserError


def write_with_beam(shards: Sequence[Shard], targets: list[Target], options: Sequence[str]) -> None:
    """Writes shards wherever the pipeline's options say.

    What a shard needs and leaves is on storage that all machines share, so a pipeline that was stopped can be started
    again, or finished without Beam.

    Args:
        shards: what to write.
        targets: the forms and their folders.
        options: Beam's pipeline options, such as ``runner=DataflowRunner``.

    Raises:
        UserError: Apache Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError(f"--beam needs Apache Beam ({error}); install it with: pip install 'hamgan[beam]'") from error
    parsed = PipelineOptions([f"--{option.removeprefix('--')}" for option in options])
    with beam.Pipeline(options=parsed) as pipeline:
        (pipeline | "Shards" >> beam.Create(list(shards), reshuffle=True) | "Write" >> beam.Map(write_shard, targets))
