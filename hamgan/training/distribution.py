"""The strategies that one train step runs on."""

import tensorflow as tf

from hamgan.errors import UserError

ACCELERATORS = ("auto", "cpu", "gpu")


def create_strategy(accelerator: str = "auto", *, cpu_replicas: int = 1) -> tf.distribute.Strategy:
    """Creates the strategy; call it before any other TensorFlow operation.

    Args:
        accelerator: "cpu"; "gpu", all GPUs of this machine; "auto", GPUs if there are any.
        cpu_replicas: virtual CPU devices to spread the batch over, for testing distribution.

    Raises:
        UserError: "gpu" and there is none, or several CPU replicas on something else.
    """
    if accelerator not in ACCELERATORS:
        raise UserError(f"--accelerator must be one of {', '.join(ACCELERATORS)}, found '{accelerator}'")
    if cpu_replicas < 1:
        raise UserError(f"--cpu_replicas must be positive, found {cpu_replicas}")
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "gpu" and not gpus:
        raise UserError("--accelerator gpu: TensorFlow sees no GPU; check the driver, or use --accelerator cpu")
    if cpu_replicas > 1:
        if accelerator == "gpu" or (accelerator == "auto" and gpus):
            raise UserError("--cpu_replicas goes with --accelerator cpu")
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * cpu_replicas)
        return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(cpu_replicas)])
    if accelerator == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns what a strategy runs on, such as "1 CPU" or "4 GPU"."""
    replicas = strategy.num_replicas_in_sync
    kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    return f"{replicas} {kind}"


def replica_batch(global_batch: int, strategy: tf.distribute.Strategy) -> int:
    """Returns one replica's share of the global batch.

    Raises:
        UserError: the replicas do not divide it.
    """
    replicas = strategy.num_replicas_in_sync
    share, rest = divmod(global_batch, replicas)
    if rest:
        below = f"{share * replicas} or " if share else ""
        raise UserError(
            f"train.global_batch must be a multiple of the {replicas} replicas, found {global_batch}; "
            f"use {below}{(share + 1) * replicas}"
        )
    return share
