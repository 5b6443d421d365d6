"""A run's files, its starting point, and its terminal output."""
