"""Requeues a job that is told to stop."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from mamlbench.slurm import queue
from mamlbench.slurm.this_job import job_id, restarts

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
"""Signals that SLURM sends before preemption or the time limit; an administrator may send them."""


def requeue_when_told() -> None:
    """Install handlers that requeue the job and end this process at once on these signals.

    While a run trains or tests, the handlers of `run.signals.StopRequest` save it first. At other
    times nothing needs saving, because all files of a run are written atomically.
    """
    for number in SIGNALS:
        signal.signal(number, _requeue_and_end)


def requeue_and_end(number: int) -> NoReturn:
    """Requeue the job and end this process with the exit code for this signal."""
    for other in SIGNALS:  # requeueing sends another signal
        signal.signal(other, signal.SIG_IGN)
    if os.environ.get("SLURM_PROCID", "0") == "0":  # the first task requeues for all
        print(f"mamlbench: {_requeue(signal.Signals(number).name)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


def _requeue_and_end(number: int, frame: FrameType | None) -> None:
    requeue_and_end(number)


def _requeue(told: str) -> str:
    job, most = job_id() or "?", int(os.environ.get("MAMLBENCH_MAX_REQUEUES", 100))
    if restarts() >= most:
        return f"{told}: job {job} ends: hardware.max_requeues={most} is reached"
    against = queue.requeue(job)
    if against is None:
        return f"{told}: job {job} goes back to the queue"
    return f"{told}: job {job} does not go back to the queue: {against}"
