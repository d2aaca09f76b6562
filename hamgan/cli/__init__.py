"""The command line: options and messages; the work is done elsewhere."""
