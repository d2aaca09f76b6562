"""Files of a run: config, checkpoints, metrics, evaluations and the report."""
