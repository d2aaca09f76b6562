"""One run of a comparison, in a process of its own: training, scores, spectra and samples."""

import itertools
import resource
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import benchmarking
import numpy as np
import tensorflow as tf

from context_lab import arms, spectra
from context_lab.job import Job
from hamgan.config import ExperimentConfig, override
from hamgan.config.presets import get_preset
from hamgan.data.fitted_config import fitted_config
from hamgan.evaluation.evaluate import evaluate_checkpoints, evaluation_config
from hamgan.evaluation.evaluator import Evaluator
from hamgan.files import write_atomically
from hamgan.networks.network import Network
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.grids import grid_classes, image_grid
from hamgan.sampling.trained import Run
from hamgan.sampling.trained_weights import choose_weights, find_checkpoints
from hamgan.training.collapse import TrainingDivergedError
from hamgan.training.gan import train
from hamgan.training.start import resolved

CPU_SECONDS = "process_cpu_seconds"
SAMPLE_SEED = 0


class _TimedRun(RunDirectory):
    """A run folder whose log also has the CPU-seconds of the process so far."""

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        super().append_metrics([{**row, CPU_SECONDS: used.ru_utime + used.ru_stime} for row in rows])


def measure(job: Job) -> None:
    """Trains and measures a run, and writes its result. What was done before an interruption is kept."""
    preset = resolved(override(get_preset(job.preset), job.overrides))
    config = fitted_config(override(preset, job.arm_overrides))
    directory = _TimedRun(job.run)
    strategy = tf.distribute.get_strategy()
    result: dict[str, Any] = {"job": job.identity()}
    try:
        train(config, directory, strategy)
    except TrainingDivergedError as error:
        benchmarking.write_json(job.result, {**result, "diverged": str(error)})
        return
    scored = evaluation_config(config, classifier=job.classifier)
    evaluator = Evaluator(scored, strategy, job.cache_dir, directory.read_class_counts(scored))
    checkpoints = find_checkpoints(directory, "latest")
    (evaluation,) = evaluate_checkpoints(evaluator, directory, checkpoints, choose_weights(scored, None))
    run = Run(job.run)
    write_atomically(job.samples, samples(run))
    result["step"] = evaluation["step"]
    result["scores"] = evaluation["scores"]
    result["real"] = evaluation["real"]
    result["parameters"] = {name: parameters(getattr(run, name)) for name in arms.NETWORKS}
    result["cpu_seconds_per_step"] = cpu_seconds_per_step(directory.read_metrics())
    result["sigmas"] = {name: sigmas(getattr(run, name)) for name in arms.NETWORKS}
    result["spectra"] = spectra.run_spectra(run, resolutions(config, fitted_config(preset)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    result["process_cpu_seconds"] = used.ru_utime + used.ru_stime
    benchmarking.write_json(job.result, result)


def resolutions(config: ExperimentConfig, preset: ExperimentConfig) -> dict[str, int]:
    """Returns the resolution of each network's first context module, or of the preset's where there is none."""
    found = {}
    for name in arms.NETWORKS:
        context = getattr(config.model, name).context or getattr(preset.model, name).context
        found[name] = context[0].resolution
    return found


def cpu_seconds_per_step(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Returns the median CPU time of a step over the intervals of a run's log; None if it has none.

    Intervals across a restart are left out: the time of a new process starts at 0.
    """
    seconds = [
        (after[CPU_SECONDS] - before[CPU_SECONDS]) / (after["step"] - before["step"])
        for before, after in itertools.pairwise(rows)
        if before[CPU_SECONDS] < after[CPU_SECONDS]
    ]
    return statistics.median(seconds) if seconds else None


def parameters(network: Network) -> dict[str, int]:
    """Returns the number of trainable parameters of the "network" and of its "context" modules."""
    return {
        "network": _size(network.trainable_variables),
        "context": sum(_size(module.trainable_variables) for module in network.context),
    }


def sigmas(network: Network) -> list[float]:
    """Returns the learned scalar by which each context module scales what it adds; it starts at 0."""
    return [float(module.sigma.numpy()) for module in network.context]


def _size(variables: Iterable[Any]) -> int:
    return int(sum(np.prod(variable.shape) for variable in variables))


def samples(run: Run) -> bytes:
    """Returns a PNG with one image of each of at most ten classes, from the latent vectors of a fixed seed."""
    classes = tf.constant(grid_classes(run.config.model.num_classes), tf.int32)
    inputs = run.generator.draw_inputs(SAMPLE_SEED, count=len(classes), labels=classes)
    grid = image_grid(run.generator(*inputs, training=False).numpy(), columns=len(classes))
    return tf.io.encode_png(grid).numpy()
