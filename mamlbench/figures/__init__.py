"""The figures of a run: scores, tasks and films."""
