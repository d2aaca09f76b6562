"""A run's folder: what it holds, and reading and writing it."""
