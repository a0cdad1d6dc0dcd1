"""Benchmarks of what a device runs: the bare model, and frames from capture to poses."""
