"""A job that is told to stop goes back to the queue."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from mamlbench.slurm import queue
from mamlbench.slurm.this_job import job_id, restarts

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
"""What SLURM sends before it takes a node away, or a time limit ends; what an admin may send."""


def requeue_when_told() -> None:
    """From now on, these signals put the job back into the queue and end this process at once.

    While a run trains or tests, `run.signals.StopRequest` has them instead: it saves first.
    All files of a run are whole at every instant, so that nothing else is worth waiting for.
    """
    for number in SIGNALS:
        signal.signal(number, _requeue_and_end)


def requeue_and_end(number: int) -> NoReturn:
    """Put the job back into the queue and end this process, as after this signal."""
    for other in SIGNALS:  # to requeue sends another
        signal.signal(other, signal.SIG_IGN)
    if os.environ.get("SLURM_PROCID", "0") == "0":  # one for all tasks of a run
        print(f"mamlbench: {_requeue(signal.Signals(number).name)}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


def _requeue_and_end(number: int, frame: FrameType | None) -> None:
    requeue_and_end(number)


def _requeue(told: str) -> str:
    job, most = job_id() or "?", int(os.environ.get("MAMLBENCH_MAX_REQUEUES", 100))
    if restarts() >= most:
        return f"{told}: job {job} ends: it went back to the queue {restarts()} times already"
    against = queue.requeue(job)
    if against is None:
        return f"{told}: job {job} goes back to the queue"
    return f"{told}: job {job} is not put back into the queue: {against}"
