"""The parts of scripts/compare_context.py."""
