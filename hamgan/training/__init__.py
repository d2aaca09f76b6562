"""Training: losses, the step, checkpoints, the loop."""
