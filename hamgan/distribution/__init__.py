"""Devices: strategies, and work spread over their replicas."""
