"""Modules that the fork server imports, so that every worker starts with TensorFlow loaded but not initialized."""

from hamgan.program import import_tensorflow_quietly

import_tensorflow_quietly(start=False)

import data_prep.shards  # noqa: E402, F401
