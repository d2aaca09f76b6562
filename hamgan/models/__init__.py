"""Generator and discriminator."""

from hamgan.models.discriminator import Discriminator
from hamgan.models.generator import Generator

__all__ = ["Discriminator", "Generator"]
