"""The status of an unfinished run, in `status.json` in its folder.

The file exists from a run's start until its summary is written; it stays if the run stops or fails.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamlbench.errors import Lost, Pruned, UserError
from mamlbench.files import write_json
from mamlbench.run.signals import Stopped
from mamlbench.slurm.this_job import job_id

NAME, SUMMARY = "status.json", "summary.json"
RUNNING, STOPPED, FAILED, PRUNED = "running", "stopped", "failed", "pruned"


@dataclass(frozen=True)
class Status:
    """The content of `status.json`.

    Attributes:
        state: `running`, `stopped`, `failed` or, in a search, `pruned`.
        job: the run's SLURM job, if any.
        host: the machine that the run is or was on.
        pid: the run's process on that machine.
        process_began: the process's start time in kernel ticks, because pids are reused.
        signal: the signal that stopped the run.
        iteration: the iteration at which it stopped.
        error: why the run failed or was pruned.
    """

    state: str
    job: str | None
    host: str
    pid: int | None
    process_began: str | None
    signal: str | None
    iteration: int | None
    error: str | None


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Set the folder's status to `running`; on exit remove it, or write why the run ended early.

    The status only informs people: if it cannot be written, the run goes on without it.
    """
    about = {
        "job": job_id(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_began": _process_began(os.getpid()),
    }
    _write(folder, {"state": RUNNING, **about})
    try:
        yield
    except BaseException as error:
        if folder.is_dir():
            _write(folder, {**_ended_by(error), **about})
        if (folder / SUMMARY).is_file():  # a failed restart left the finished run as it was
            _remove(folder)
        raise
    _remove(folder)


def read(folder: Path) -> Status | None:
    """The folder's status, or None if there is no readable one."""
    try:
        found = json.loads((folder / NAME).read_text())
        return Status(**{name: found.get(name) for name in Status.__annotations__})
    except (OSError, ValueError, AttributeError):
        return None


def works_here(status: Status) -> bool | None:
    """Whether the process that wrote `status` still runs; None if it is on another machine."""
    if status.host != socket.gethostname():
        return None
    began = _process_began(status.pid or 0)
    return began is not None and began == status.process_began


def _process_began(pid: int) -> str | None:
    """The start time of a process on this machine in kernel ticks; None if it does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]  # the name in parentheses may contain anything


def _ended_by(error: BaseException) -> dict[str, Any]:
    if isinstance(error, Stopped):
        name = signal.Signals(error.signal).name
        return {"state": STOPPED, "signal": name, "iteration": error.iteration}
    if isinstance(error, Pruned):
        return {"state": PRUNED, "error": str(error)}
    if isinstance(error, (UserError, Lost)):
        return {"state": FAILED, "error": str(error)}
    if isinstance(error, KeyboardInterrupt):
        return {"state": STOPPED, "signal": "SIGINT"}
    return {"state": FAILED, "error": traceback.format_exception_only(error)[-1].strip()}


def _remove(folder: Path) -> None:
    with suppress(OSError):
        (folder / NAME).unlink()


def _write(folder: Path, status: dict[str, Any]) -> None:
    with suppress(UserError):
        write_json(folder / NAME, status)
