"""Compiles a training step for a TPU, without a TPU, and estimates its memory and its shortest time."""
