"""TFDS data sets: reading, preprocessing, and the embedded digits."""
