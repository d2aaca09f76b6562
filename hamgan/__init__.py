"""HamGAN: class-conditional GANs with matrix decomposition as global context."""

__version__ = "0.1.0"
