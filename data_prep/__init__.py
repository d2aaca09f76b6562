"""Prepares ImageNet (ILSVRC 2012) as TFDS data sets."""
