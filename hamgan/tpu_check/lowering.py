"""Lowers the training step of a TPU core to StableHLO."""

import dataclasses
import re

import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.layers.execution import execution
from hamgan.training.state import TrainState
from hamgan.training.step import Metrics, TrainStep


@dataclasses.dataclass(frozen=True)
class Program:
    """The training step of a single core."""

    stablehlo: str
    """Text of the program. Variables are arguments that the results update in place."""
    state_bytes: int
    """Size of all variables: weights, optimizer slots and other state."""


def lower_train_step(config: ExperimentConfig, core_batch: int) -> Program:
    """Traces the training step of a single core and lowers it to StableHLO.

    The program does not include communication between cores, the sums of batch statistics and of gradients.

    Args:
        config: config of the experiment.
        core_batch: number of images per core.
    """
    train = dataclasses.replace(config.train, global_batch=core_batch)
    config = dataclasses.replace(config, train=train)
    state = TrainState(config)
    # Uniform labels: their distribution changes neither the memory nor, noticeably, the time of a step.
    step = TrainStep(state, config, tf.distribute.get_strategy())

    @tf.function(autograph=False, jit_compile=True)
    def one_step(number: tf.Tensor, stream: tf.Tensor, *images_and_labels: tf.Tensor) -> Metrics:
        return step(tuple(zip(images_and_labels[::2], images_and_labels[1::2], strict=True)), number, stream)

    resolution, channels = config.model.resolution, config.model.channels
    batch = (
        tf.TensorSpec((core_batch, resolution, resolution, channels), tf.float32),
        tf.TensorSpec((core_batch,), tf.int32),
    )
    arguments = (tf.TensorSpec((), tf.int64), tf.TensorSpec((2,), tf.int32), *batch * train.discriminator_updates)
    with execution(target="tpu"):
        text = one_step.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    # TensorFlow numbers its functions; a fixed name makes the text reproducible.
    text = re.sub(r"module @\S+", "module @train_step", text, count=1)
    # StableHLO has no counterpart of TensorFlow's mhlo.copy; this operation returns its operand unchanged, too.
    stablehlo = text.replace("mhlo.copy", "stablehlo.optimization_barrier")
    state_bytes = sum(variable.dtype.size * variable.shape.num_elements() for variable in state.variables().values())
    return Program(stablehlo, state_bytes)
