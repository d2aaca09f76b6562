"""Distribution strategies, and computations on their replicas."""
