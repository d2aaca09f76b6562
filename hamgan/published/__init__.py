"""Conversion from and to checkpoints of the published TF1 implementation."""
