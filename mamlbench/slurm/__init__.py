"""Sweeps as SLURM jobs: submission, the jobs themselves, and the queue."""
