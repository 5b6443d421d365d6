"""Measurements of `scripts/benchmark.py`: works, rivals, times, memory, the machine's rates."""
