"""Weights of the published checkpoints, by their names, and conversion in both directions."""
