"""Stochastic gradient descent with momentum in PyTorch's form."""

from typing import Any

import tensorflow as tf

from hamgan.segmentation.training.parameter_groups import Group, GroupedOptimizer


class GroupedSGD(GroupedOptimizer):
    """Momentum in PyTorch's form: ``v <- momentum * v + g + decay * w``, then ``w <- w - rate * v``.

    Keras keeps the learning rate inside v, which differs once the learning rate changes.

    Args:
        learning_rate: learning rate, or a schedule of it.
        groups: factor of the learning rate and weight decay of each variable.
        momentum: momentum, in [0, 1).
        name: name of the optimizer.

    Reference: Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning (ICML 2013), which
    has Keras's form.
    """

    slots = ("velocity",)

    def __init__(
        self, learning_rate: Any, groups: list[Group], *, momentum: float = 0.9, name: str = "optimizer"
    ) -> None:
        super().__init__(learning_rate, groups, name=name)
        self.momentum = momentum

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates one variable and its velocity."""
        rate, decay, (velocity,) = self.settings_of(variable, learning_rate)
        gradient = tf.cast(gradient, variable.dtype) + decay * variable
        moved = tf.constant(self.momentum, variable.dtype) * tf.convert_to_tensor(velocity) + gradient
        self.assign(velocity, moved)
        self.assign_sub(variable, rate * moved)
