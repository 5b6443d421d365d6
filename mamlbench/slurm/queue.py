"""Calls SLURM's commands: squeue and scontrol."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# States in which a job may still do something; SLURM's other states are final.
ALIVE = (
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"),
    *("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "STAGE_OUT", "SPECIAL_EXIT"),
)
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_FORMAT = "%i|%T|%r|%L"
_SECONDS = 30


@dataclass(frozen=True)
class Job:
    """A job in squeue's output.

    Attributes:
        state: SLURM's state, such as PENDING.
        reason: why the job waits.
        left: time left until the time limit, as SLURM writes it.
    """

    state: str
    reason: str
    left: str

    @property
    def is_alive(self) -> bool:
        """Whether the job's state is not final."""
        return self.state in ALIVE

    @property
    def is_waiting(self) -> bool:
        """Whether the job waits to run."""
        return self.state in WAITING


def jobs(of: Iterable[str] = ()) -> dict[str, Job] | None:
    """The user's jobs that SLURM still knows, by id; a task of an array is `12_3`.

    Args:
        of: ids of jobs or arrays to ask for (empty: all of the user's).

    Returns:
        None if SLURM is missing or does not answer.
    """
    ids = ",".join(of)
    which = ["--jobs", ids] if ids else ["--user", getpass.getuser()]
    answer = _ask("squeue", "--noheader", "--array", "--states=all", f"--format={_FORMAT}", *which)
    if answer is None:
        return None
    if answer.returncode != 0:  # squeue calls ids that it has forgotten invalid
        return {} if "Invalid job id" in answer.stderr else None
    return dict(_parsed(answer.stdout))


def _parsed(lines: str) -> Iterator[tuple[str, Job]]:
    for line in lines.splitlines():
        parts = line.strip().split("|")
        if len(parts) == 4:
            yield parts[0], Job(parts[1], parts[2], parts[3])


def requeue(job: str) -> str | None:
    """Requeue a running job; return None on success, otherwise the reason of the failure.

    A job that SLURM is already ending is left alone: it was cancelled, or SLURM itself requeues it.
    """
    found = (jobs([job]) or {}).get(job)
    if found is None:
        return "SLURM does not know it"
    if found.state != "RUNNING":
        return f"its state is {found.state}"
    answer = _ask("scontrol", "requeue", job)
    if answer is None:
        return "scontrol did not answer"
    return (answer.stderr.strip() or "scontrol refused") if answer.returncode else None


def most_array_tasks() -> int | None:
    """SLURM's maximum number of tasks in one array; None if unknown."""
    answer = _ask("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer.stdout if answer else "", re.M)
    return int(found[1]) if found else None


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
