"""Distribution strategies: one or several CPUs, GPUs, TPU cores and workers."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator

import tensorflow as tf

from hamgan.errors import PreemptedError, UserError, reason_of

ACCELERATORS = ("auto", "cpu", "gpu", "tpu")
SINGLE_DEVICES = ("auto", "cpu", "gpu")
UNAVAILABLE = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""Errors that workers see when another worker of the cluster fails."""


def create_strategy(
    accelerator: str = "auto",
    *,
    cpu_replicas: int = 1,
    tpu: str | None = None,
    zone: str | None = None,
    project: str | None = None,
) -> tf.distribute.Strategy:
    """Creates a distribution strategy. Call it before any other TensorFlow operation.

    If the environment variable ``TF_CONFIG`` names several workers, they train together, each on all of its GPUs or on
    its CPU.

    Args:
        accelerator: "cpu", "gpu" (all GPUs of this machine), "tpu", or "auto" (a TPU if ``tpu`` names one, otherwise
            GPUs if there are any).
        cpu_replicas: number of virtual CPU devices that share the batch, for tests of distribution.
        tpu: "local" on a TPU VM (the default there), or the name of a TPU or pod slice.
        zone: zone of the named TPU; by default, this machine's.
        project: project of the named TPU; by default, this machine's.

    Returns:
        Strategy; the default strategy on a single device.

    Raises:
        UserError: if the device is not available or the options conflict.

    Example:
        >>> from hamgan.distribution.strategies import create_strategy
        >>> create_strategy("auto").num_replicas_in_sync >= 1
        True
    """
    if accelerator not in ACCELERATORS:
        raise UserError(f"--accelerator must be one of {', '.join(ACCELERATORS)}, found '{accelerator}'")
    if cpu_replicas < 1:
        raise UserError(f"--cpu_replicas must be positive, found {cpu_replicas}")
    if accelerator == "auto" and tpu is not None:
        accelerator = "tpu"
    if (tpu or zone or project) and accelerator != "tpu":
        raise UserError(f"--tpu, --zone and --project require --accelerator tpu, found --accelerator {accelerator}")
    if cpu_replicas > 1 and accelerator not in ("auto", "cpu"):
        raise UserError("--cpu_replicas requires --accelerator cpu")
    num_workers = _num_workers()
    if accelerator == "tpu":
        if num_workers > 1:
            raise UserError("TF_CONFIG names several workers, and --accelerator tpu needs none: unset TF_CONFIG")
        return _tpu_strategy(tpu or "local", zone, project)
    select_device(accelerator)
    gpus = tf.config.list_physical_devices("GPU")
    if num_workers > 1:
        if cpu_replicas > 1:
            raise UserError("--cpu_replicas is for one process, but TF_CONFIG names several workers: unset one of them")
        return tf.distribute.MultiWorkerMirroredStrategy()
    if cpu_replicas > 1:
        if accelerator == "auto" and gpus:
            raise UserError("--cpu_replicas requires --accelerator cpu")
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * cpu_replicas)
        return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(cpu_replicas)])
    if accelerator != "cpu" and len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def select_device(accelerator: str = "auto") -> None:
    """Selects the device of a program that needs no strategy. Call it before any other TensorFlow operation.

    Args:
        accelerator: "cpu", "gpu" (the first one), or "auto" (a GPU if there is one).

    Raises:
        UserError: if the device is unknown or not available.
    """
    if accelerator not in SINGLE_DEVICES:
        raise UserError(f"--accelerator must be one of {', '.join(SINGLE_DEVICES)}, found '{accelerator}'")
    if accelerator == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise UserError("--accelerator gpu: TensorFlow finds no GPU; check the driver, or use --accelerator cpu")
    if accelerator == "cpu":
        tf.config.set_visible_devices([], "GPU")


def _num_workers() -> int:
    """Number of workers in ``TF_CONFIG``; 1 without a cluster."""
    text = os.environ.get("TF_CONFIG")
    if not text:
        os.environ.pop("TF_CONFIG", None)  # TensorFlow fails on an empty value.
        return 1
    try:
        config = json.loads(text)
        cluster = config.get("cluster", {})
        workers = [address for task in ("chief", "worker") for address in cluster.get(task, [])]
        if len(workers) > 1:
            task, index = config["task"]["type"], config["task"]["index"]
            if not 0 <= index < len(cluster[task]):
                raise ValueError(f"task {task} {index} is not in its cluster")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            'TF_CONFIG must read {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}, '
            f"found {text!r} ({type(error).__name__}: {reason_of(error)})"
        ) from error
    return max(len(workers), 1)


def _tpu_strategy(name: str, zone: str | None, project: str | None) -> tf.distribute.Strategy:
    if name == "local" and (zone or project):
        raise UserError("--zone and --project require a named TPU, found --tpu local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name, zone=zone, project=project)
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--accelerator tpu: cannot use the TPU '{name}' ({reason_of(error)}); expected a TPU VM with "
            "tensorflow-tpu in place of tensorflow (scripts/setup_tpu_vm.sh), or the name of a TPU within reach"
        ) from error


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns a description of a strategy's devices, such as "1 CPU", "8 TPU" or "16 GPU of 2 workers"."""
    replicas = strategy.num_replicas_in_sync
    if isinstance(strategy, tf.distribute.TPUStrategy):
        kind = "TPU"
    else:
        kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    workers = num_input_pipelines(strategy)
    return f"{replicas} {kind}" + (f" of {workers} workers" if workers > 1 else "")


def is_multi_worker(strategy: tf.distribute.Strategy) -> bool:
    """Whether the strategy has several worker processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


@contextlib.contextmanager
def worker_failures_as_preemption(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turns the errors that a failed worker causes in the other workers into a PreemptedError.

    Raises:
        PreemptedError: another worker of the cluster failed.
    """
    try:
        yield
    except UNAVAILABLE as error:
        if not is_multi_worker(strategy):
            raise
        raise PreemptedError(
            f"a worker of the cluster failed ({type(error).__name__}); start all workers again"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run's files."""
    if not is_multi_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    if resolver.task_type == "chief":
        return True
    return (
        resolver.task_type == "worker" and resolver.task_id == 0 and not resolver.cluster_spec().as_dict().get("chief")
    )


def agreed(strategy: tf.distribute.Strategy, value: int) -> int:
    """Broadcasts the chief's value to all workers. Every worker must call it."""
    if not is_multi_worker(strategy):
        return value

    @tf.function
    def broadcast(value: tf.Tensor) -> tf.Tensor:
        def chief_only(value: tf.Tensor) -> tf.Tensor:
            # The chief has replica 0.
            is_first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
            return tf.where(is_first, value, tf.zeros_like(value))

        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(chief_only, args=(value,)), axis=None)

    return int(broadcast(tf.constant(value, tf.int32)).numpy())


def num_input_pipelines(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of hosts that feed the replicas."""
    if is_multi_worker(strategy):
        cluster = strategy.cluster_resolver.cluster_spec().as_dict()
        return sum(len(cluster.get(task, ())) for task in ("chief", "worker"))
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return strategy.extended.num_hosts
    return 1


def distribute(
    strategy: tf.distribute.Strategy, dataset_of_host: Callable[[int, int], tf.data.Dataset]
) -> tf.distribute.DistributedDataset:
    """Distributes a data set so that every host feeds its own replicas.

    Args:
        strategy: distribution strategy.
        dataset_of_host: function from (host index, number of hosts) to a data set of replica batches, in turn for
            each of the host's replicas.

    Returns:
        Distributed data set.
    """
    return strategy.distribute_datasets_from_function(
        lambda context: dataset_of_host(context.input_pipeline_id, context.num_input_pipelines)
    )


def replica_batch(global_batch: int, strategy: tf.distribute.Strategy) -> int:
    """Returns the batch size of each replica.

    Raises:
        UserError: if the global batch is not a multiple of the number of replicas.
    """
    return share_of_batch(global_batch, strategy.num_replicas_in_sync, "replicas")


def share_of_batch(global_batch: int, parts: int, what: str) -> int:
    """Returns the global batch divided by ``parts``.

    Args:
        global_batch: number of images of the global batch.
        parts: number of equal parts.
        what: name of the parts in the error message, such as "replicas".

    Raises:
        UserError: if the global batch is not a multiple of ``parts``.
    """
    share, rest = divmod(global_batch, parts)
    if rest:
        below = f"{share * parts} or " if share else ""
        raise UserError(
            f"train.global_batch must be a multiple of the {parts} {what}, found {global_batch}; "
            f"use {below}{(share + 1) * parts}"
        )
    return share
