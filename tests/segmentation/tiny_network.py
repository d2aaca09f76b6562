"""A small HamNet, and pictures for it."""

import keras
import numpy as np

from hamgan.segmentation import HamNet, ResNet

CLASS_NAMES = ["ground", "sky", "sea"]


def tiny_hamnet(**arguments):
    """Three classes; its weights are random, so that masks have several classes."""
    keras.utils.set_random_seed(3)
    settings = {"head_channels": 8, "align_channels": 8, "rank": 3, "seed": 1, **arguments}
    backbone = ResNet(depths=(1, 1, 1, 1), base_channels=4)
    return HamNet(backbone, version="v2", num_classes=len(CLASS_NAMES), **settings)


def picture(height, width, seed=0):
    """Smooth random colors."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
