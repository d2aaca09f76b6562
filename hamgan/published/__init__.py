"""The published implementation's checkpoints: their names, and conversion in both directions."""
