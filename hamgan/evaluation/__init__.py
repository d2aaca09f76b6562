"""Evaluation: classifier, metrics, and scores of checkpoints."""
