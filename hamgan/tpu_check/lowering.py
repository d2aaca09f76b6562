"""Lowers the training step of a single device to StableHLO."""

import dataclasses
import re

import tensorflow as tf

from hamgan.config import ExperimentConfig
from hamgan.layers.execution import Target, execution
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
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, global_batch=core_batch))
    state = TrainState(config)
    stablehlo, _ = lower_step(state, config, "tpu")
    state_bytes = sum(variable.dtype.size * variable.shape.num_elements() for variable in state.variables().values())
    return Program(stablehlo, state_bytes)


def step_arguments(config: ExperimentConfig) -> tuple[tf.TensorSpec, ...]:
    """Returns the specifications of the arguments of a single step.

    They are the number of previous steps, the random stream, and images and labels of each discriminator update.
    """
    resolution, channels, size = config.model.resolution, config.model.channels, config.train.global_batch
    batch = (
        tf.TensorSpec((size, resolution, resolution, channels), tf.float32, "images"),
        tf.TensorSpec((size,), tf.int32, "labels"),
    )
    numbers = (tf.TensorSpec((), tf.int64, "number"), tf.TensorSpec((2,), tf.int32, "stream"))
    return *numbers, *batch * config.train.discriminator_updates


def single_step(state: TrainState, config: ExperimentConfig) -> tf.types.experimental.PolymorphicFunction:
    """Returns a function of :func:`step_arguments` that takes one step on a single device and returns its metrics."""
    # Uniform labels: their distribution changes neither the memory nor, noticeably, the time of a step.
    step = TrainStep(state, config, tf.distribute.get_strategy())

    @tf.function(autograph=False, jit_compile=True)
    def one_step(number: tf.Tensor, stream: tf.Tensor, *images_and_labels: tf.Tensor) -> Metrics:
        return step(tuple(zip(images_and_labels[::2], images_and_labels[1::2], strict=True)), number, stream)

    return one_step


def lower_step(state: TrainState, config: ExperimentConfig, target: Target) -> tuple[str, dict[str, tf.Variable]]:
    """Lowers the training step on a single device to StableHLO.

    Args:
        state: state to train; its weights are not changed.
        config: config of the experiment.
        target: kind of device to trace for.

    Returns:
        The text of the program, and the variables whose values are its arguments, after the step's own, in order.
    """
    one_step = single_step(state, config)
    arguments = step_arguments(config)
    with execution(target=target):
        captured = one_step.get_concrete_function(*arguments).captured_inputs
        text = one_step.experimental_get_compiler_ir(*arguments)(stage="stablehlo")
    # TensorFlow numbers its functions; a fixed name makes the text reproducible.
    text = re.sub(r"module @\S+", "module @train_step", text, count=1)
    # StableHLO has no counterpart of TensorFlow's mhlo.copy; this operation returns its operand unchanged, too.
    stablehlo = text.replace("mhlo.copy", "stablehlo.optimization_barrier")
    named = state.variables()
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        named[optimizer.learning_rate.path] = optimizer.learning_rate.value
    names = {id(variable.handle): name for name, variable in named.items()}
    return stablehlo, {name: named[name] for name in (names[id(handle)] for handle in captured)}
