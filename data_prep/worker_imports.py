"""What the process that workers are forked from imports: TensorFlow, not yet started, and the work."""

from hamgan.program import import_tensorflow_quietly

import_tensorflow_quietly(start=False)

import data_prep.shards  # noqa: E402, F401
