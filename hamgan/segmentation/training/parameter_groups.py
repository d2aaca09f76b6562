"""Groups of variables with a learning rate and a weight decay of their own, as in the published training."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from hamgan.config import SegmentationTrainConfig
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.published.names import head_tensors, name_forms

_KERNELS = ("kernel",)
_OFFSETS = ("bias", "beta")


class Group(NamedTuple):
    """Settings of a variable.

    Args:
        factor: factor of the learning rate.
        weight_decay: weight decay.
    """

    factor: float
    weight_decay: float


def parameter_groups(network: SegmentationNetwork, config: SegmentationTrainConfig) -> list[Group]:
    """Returns the group of each trainable variable of a network.

    With "sgd", kernels are decayed, and biases and offsets have another learning rate. With "adamw", all weights are
    decayed but those with "norm" in their published name: the batch normalisations of MSCAN's stem and the group
    normalisations of heads have none. The head may have another learning rate in both.

    Args:
        network: network to train.
        config: config of the training.
    """
    of_head = {id(variable) for variable in network.head.trainable_variables}
    is_decayed = _decayed_by_kind if config.optimizer == "sgd" else _decayed_by_published_name
    decayed = is_decayed(network)
    groups = []
    for variable in network.trainable_variables:
        factor = config.head_factor if id(variable) in of_head else 1.0
        if config.optimizer == "sgd" and _kind(variable) in _OFFSETS:
            factor *= config.bias_factor
        groups.append(Group(factor, config.weight_decay if id(variable) in decayed else 0.0))
    return groups


def _kind(variable: keras.Variable) -> str:
    return variable.path.rsplit("/", 1)[-1]


def _decayed_by_kind(network: SegmentationNetwork) -> set[int]:
    return {id(variable) for variable in network.trainable_variables if _kind(variable) in _KERNELS}


def _decayed_by_published_name(network: SegmentationNetwork) -> set[int]:
    tensors = {**name_forms(network.backbone)[0].tensors, **head_tensors(network.head)}
    normalising = {id(tensor.variable) for name, tensor in tensors.items() if "norm" in name}
    return {id(variable) for variable in network.trainable_variables} - normalising


class GroupedOptimizer(keras.optimizers.Optimizer):
    """Base class of optimizers whose variables belong to groups.

    Keras's own optimizers have one learning rate for all variables.

    Args:
        learning_rate: learning rate, or a schedule of it.
        groups: group of each variable, in the order of ``build``.
        name: name of the optimizer.
    """

    slots: tuple[str, ...] = ()
    """Names of the variables that the optimizer keeps for each weight."""

    def __init__(self, learning_rate: Any, groups: list[Group], *, name: str = "optimizer") -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.groups = groups

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the slots of all variables."""
        if self.built:
            return
        super().build(variables)
        if len(variables) != len(self.groups):
            raise ValueError(f"expected {len(self.groups)} variables, received {len(variables)}")
        self._slots = [
            [self.add_variable_from_reference(variable, name=name) for variable in variables] for name in self.slots
        ]

    def settings_of(self, variable: tf.Variable, learning_rate: Any) -> tuple[tf.Tensor, tf.Tensor, list[tf.Variable]]:
        """Returns the learning rate and the weight decay of a variable, in its dtype, and its slots."""
        index = self._get_variable_index(variable)
        group = self.groups[index]
        rate = tf.cast(learning_rate, variable.dtype) * tf.constant(group.factor, variable.dtype)
        return rate, tf.constant(group.weight_decay, variable.dtype), [slots[index] for slots in self._slots]
