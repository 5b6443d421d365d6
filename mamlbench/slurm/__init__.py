"""Sweeps as SLURM jobs: submission, what a job does, and the queue."""
