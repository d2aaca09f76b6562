"""Reads and preprocesses TFDS data sets, and builds the digits data set."""
