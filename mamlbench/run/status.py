"""What becomes of a run that is not finished: `status.json` in its folder says so to others.

It is there from a run's start to its summary, and stays where the run stopped or failed.
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
    """What a run says of itself.

    Attributes:
        state: `running`, `stopped`, `failed` or, by a search, `pruned`.
        job: its SLURM job, if any.
        host: the machine it works, or worked, on.
        pid: its process there.
        process_began: when that began, in the kernel's count: numbers of processes come again.
        signal: what stopped it.
        iteration: where.
        error: why it failed or was pruned.
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
    """While this lasts, the folder's status is `running`; then gone, or why the run has ended.

    The status is for people: where it cannot be written, the run goes on without.
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
        if (folder / SUMMARY).is_file():  # a restart that lost nothing: the run is still finished
            _remove(folder)
        raise
    _remove(folder)


def read(folder: Path) -> Status | None:
    """What the folder's status says, if there is one."""
    try:
        found = json.loads((folder / NAME).read_text())
        return Status(**{name: found.get(name) for name in Status.__annotations__})
    except (OSError, ValueError, AttributeError):
        return None


def works_here(status: Status) -> bool | None:
    """Whether the process that wrote this is still there; None where another machine must tell."""
    if status.host != socket.gethostname():
        return None
    began = _process_began(status.pid or 0)
    return began is not None and began == status.process_began


def _process_began(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's count; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]  # its name, in brackets, may hold anything


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
