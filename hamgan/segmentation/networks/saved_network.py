"""Networks in checkpoints: the names of their variables, and how they are loaded."""

import tensorflow as tf

from hamgan.config import SegmentationConfig
from hamgan.runs.checkpoints import network_variables, restore
from hamgan.sampling.trained_weights import weights_precision
from hamgan.segmentation.networks.build import NETWORK, build_network
from hamgan.segmentation.networks.network import SegmentationNetwork


def saved_variables(network: SegmentationNetwork) -> dict[str, tf.Variable]:
    """Returns the variables of a network by their names in checkpoints.

    All names begin with the name of the network, such as "network/resnet/stem_conv1/kernel"; the paths of a backbone
    begin with its own.
    """
    prefix = f"{network.name}/"
    return {prefix + name.removeprefix(prefix): variable for name, variable in network_variables(network).items()}


def load_network(config: SegmentationConfig, checkpoint: str) -> SegmentationNetwork:
    """Returns the trained network of a checkpoint.

    Args:
        config: config of the run.
        checkpoint: path of the checkpoint, without suffix.

    Raises:
        UserError: if the checkpoint cannot be read, or has another architecture.
    """
    network = build_network(config, precision=weights_precision(config))
    restore(checkpoint, saved_variables(network), part=NETWORK)
    return network
