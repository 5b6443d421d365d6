"""What runs are computed on: devices, memory, processes."""
