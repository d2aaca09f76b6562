"""Evaluation: classifier, metrics, and the scoring of checkpoints."""
