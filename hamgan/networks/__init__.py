"""The generator and discriminator networks."""

from hamgan.networks.discriminator import Discriminator
from hamgan.networks.generator import Generator

__all__ = ["Discriminator", "Generator"]
