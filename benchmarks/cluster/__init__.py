"""Benchmarks of the whole system on a real Kubernetes, inside the box: `make bench-cluster`."""
