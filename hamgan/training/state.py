"""The state of training: networks, optimizers, moving average and step."""

from typing import Any

import keras
import tensorflow as tf

from hamgan.config import ExperimentConfig, TrainConfig
from hamgan.networks import Generator
from hamgan.networks.build import build_discriminator, build_generator
from hamgan.runs.checkpoints import EMA_NAME, network_variables
from hamgan.training.adam import FusedAdam


class TrainState:
    """The networks, optimizers and step counter of a run. Create it in the strategy's scope.

    Args:
        config: config of the experiment. Its seed determines the initial weights.
    """

    def __init__(self, config: ExperimentConfig) -> None:
        keras.utils.set_random_seed(config.train.seed)
        precision = config.train.precision
        self.generator = build_generator(config.model, precision=precision)
        self.discriminator = build_discriminator(config.model, precision=precision)
        self.ema_generator: Generator | None = None
        if config.train.ema_decay > 0:
            self.ema_generator = build_generator(config.model, name=EMA_NAME, precision=precision)
            for average, weight in zip(self.ema_generator.weights, self.generator.weights, strict=True):
                average.assign(weight)
        self.generator_optimizer = _adam(config.train, config.train.generator_learning_rate, "generator_optimizer")
        self.discriminator_optimizer = _adam(
            config.train, config.train.discriminator_learning_rate, "discriminator_optimizer"
        )
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        shared: dict[str, Any] = {
            "trainable": False,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self.step = tf.Variable(0, dtype=tf.int64, **shared)
        self.logit_averages: tf.Variable | None = None
        """Moving averages of the mean logits of real images and fakes, for LeCam regularisation."""
        if config.regularization.lecam:
            self.logit_averages = tf.Variable([0.0, 0.0], dtype=self.discriminator.variable_dtype, **shared)

    @property
    def sampling_generator(self) -> Generator:
        """The generator to sample from: the moving average if there is one, else the trained generator."""
        return self.ema_generator or self.generator

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables by their names in checkpoints."""
        networks = [self.generator, self.discriminator]
        if self.ema_generator is not None:
            networks.append(self.ema_generator)
        named = {name: value for network in networks for name, value in network_variables(network).items()}
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for variable in optimizer.variables:
                # The learning rate comes from the config.
                if not variable.path.endswith("learning_rate"):
                    named[variable.path] = variable.value
        named["step"] = self.step
        if self.logit_averages is not None:
            named["logit_averages"] = self.logit_averages
        return named


def _adam(config: TrainConfig, learning_rate: float, name: str) -> FusedAdam:
    return FusedAdam(
        learning_rate=learning_rate,
        beta_1=config.adam_beta1,
        beta_2=config.adam_beta2,
        epsilon=config.adam_epsilon,
        name=name,
    )
