"""What `scripts/benchmark.py` measures: works, rivals, times, memory, the machine's rates."""
