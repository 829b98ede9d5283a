"""Benchmarks: each compares us with an anchor that is measured in the same run. `make bench` runs them."""
