"""The SLURM job that this process is part of."""

from __future__ import annotations

import os


def job_id() -> str | None:
    """This process's SLURM job id, such as `12_3` in an array; None outside SLURM."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def restarts() -> int:
    """How many times this job was requeued."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)
