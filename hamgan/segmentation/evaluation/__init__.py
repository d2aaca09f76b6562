"""Scores of a trained network on a data set, and their files and page in the folder of a run."""
