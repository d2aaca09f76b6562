"""The state of training a segmentation network: network, optimizer and step."""

import keras
import tensorflow as tf

from hamgan.config import SegmentationConfig, SegmentationTrainConfig
from hamgan.segmentation.networks.build import build_network
from hamgan.segmentation.networks.network import SegmentationNetwork
from hamgan.segmentation.networks.saved_network import saved_variables
from hamgan.segmentation.training.adamw import GroupedAdamW
from hamgan.segmentation.training.parameter_groups import GroupedOptimizer, parameter_groups
from hamgan.segmentation.training.schedule import Schedule
from hamgan.segmentation.training.sgd import GroupedSGD


class SegmentationState:
    """The network, optimizer and step counter of a run. Create it in the strategy's scope.

    Args:
        config: config of the experiment. Its seed determines the initial weights.
    """

    def __init__(self, config: SegmentationConfig) -> None:
        keras.utils.set_random_seed(config.train.seed)
        self.network = build_network(config)
        self.schedule = Schedule(config.train)
        self.optimizer = create_optimizer(self.network, config.train)
        self.optimizer.build(self.network.trainable_variables)
        self.step = tf.Variable(
            0, dtype=tf.int64, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables by their names in checkpoints."""
        named = saved_variables(self.network)
        named.update({variable.path: variable.value for variable in self.optimizer.variables})
        named["step"] = self.step
        return named


def create_optimizer(network: SegmentationNetwork, config: SegmentationTrainConfig) -> GroupedOptimizer:
    """Returns the optimizer of a network.

    Args:
        network: network to train.
        config: config of the training.
    """
    schedule, groups = Schedule(config), parameter_groups(network, config)
    if config.optimizer == "sgd":
        return GroupedSGD(schedule, groups, momentum=config.momentum)
    return GroupedAdamW(
        schedule, groups, beta_1=config.adam_beta1, beta_2=config.adam_beta2, epsilon=config.adam_epsilon
    )
