"""What the training loop needs to know about segmentation: step, state, loss, optimizers and initial weights."""
