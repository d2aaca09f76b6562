"""Adam with decoupled weight decay, for groups of variables."""

from typing import Any

import tensorflow as tf

from hamgan.segmentation.training.parameter_groups import Group, GroupedOptimizer


class GroupedAdamW(GroupedOptimizer):
    """AdamW in PyTorch's form: ``w <- w - rate * decay * w``, then Adam's step with the same rate.

    ``keras.optimizers.AdamW`` decays all variables by one learning rate, and adds epsilon before the correction of the
    bias.

    Args:
        learning_rate: learning rate, or a schedule of it.
        groups: factor of the learning rate and weight decay of each variable.
        beta_1: decay of the mean of gradients, in [0, 1).
        beta_2: decay of the mean of their squares, in [0, 1).
        epsilon: constant added to the square root.
        name: name of the optimizer.

    Reference: Loshchilov and Hutter, Decoupled Weight Decay Regularization (ICLR 2019).
    """

    slots = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: Any,
        groups: list[Group],
        *,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        name: str = "optimizer",
    ) -> None:
        super().__init__(learning_rate, groups, name=name)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates one variable and its means."""
        rate, decay, (momentum, velocity) = self.settings_of(variable, learning_rate)
        dtype = variable.dtype
        gradient = tf.cast(gradient, dtype)
        beta_1, beta_2, epsilon = (tf.constant(value, dtype) for value in (self.beta_1, self.beta_2, self.epsilon))
        steps = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        mean = tf.convert_to_tensor(momentum)
        mean += (1 - beta_1) * (gradient - mean)
        square = tf.convert_to_tensor(velocity)
        square += (1 - beta_2) * (tf.square(gradient) - square)
        self.assign(momentum, mean)
        self.assign(velocity, square)
        deviation = tf.sqrt(square / (1 - beta_2**steps)) + epsilon
        self.assign_sub(variable, rate * (decay * variable + mean / (1 - beta_1**steps) / deviation))
