"""One process at a time, by operating system locks, which are released when a process ends."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mamlbench.errors import Busy
from mamlbench.files import disk_errors
from mamlbench.slurm.this_job import restarts

_UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_REQUEUED_SECONDS = 120.0
_log = logging.getLogger(__name__)


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Lock the file `lock` during the context; the file is removed afterwards.

    After a crash, even kill -9, the next process can start at once, because the operating system
    holds the lock, not the file's existence. A requeued SLURM job waits up to two minutes, so that
    a shared file system can notice that the job's previous node is gone.

    Args:
        lock: path of the lock file; its folder must exist.
        what: what the lock protects, for the message.

    Raises:
        Busy: another process holds the lock.
        UserError: the lock file is not writable.
    """
    held = FileLock(lock, timeout=_patience(), fallback_to_soft=False)
    with disk_errors(lock):
        _acquire(held, what)
    try:
        with suppress(OSError):  # on a full disk, other processes just see a vaguer message
            lock.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        # unlink while holding the lock: a process waiting for this file then creates a new one
        lock.unlink(missing_ok=True)
        held.release()


def _acquire(held: FileLock, what: str) -> None:
    try:
        held.acquire()
    except Timeout as error:
        holder = _holder(Path(held.lock_file))
        raise Busy(f"{what}: {holder} is working on it; nothing was done here") from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _log.warning(
            "%s: this file system has no locks; let no other process work here", held.lock_file
        )


def _patience() -> float:
    return _REQUEUED_SECONDS if restarts() else 0.0


def _holder(lock: Path) -> str:
    try:
        holder = json.loads(lock.read_text())
        return f"process {holder['process']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
