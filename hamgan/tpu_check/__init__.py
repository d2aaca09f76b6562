"""Whether a training step compiles for a TPU, fits in its memory, and how fast it can be at best; without any TPU."""
