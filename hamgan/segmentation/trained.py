"""Trained segmentation networks, by path."""

from hamgan.errors import UserError
from hamgan.segmentation.trained_network import TrainedNetwork, is_network_file, load_network_file


def load_network(path: str, checkpoint: str = "latest") -> TrainedNetwork:
    """Loads a trained segmentation network.

    Args:
        path: Keras file.
        checkpoint: checkpoint of a run.

    Raises:
        UserError: there is no such network.
    """
    if not is_network_file(path):
        raise UserError(f"expected a Keras file, found {path}; pass a name that ends in .keras")
    if checkpoint != "latest":
        raise UserError(f"--checkpoint expects a run, found the Keras file {path}; remove it")
    return load_network_file(path)
