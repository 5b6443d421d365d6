"""One process at a time, by locks of the operating system, which end with the process."""

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
    """Hold the file `lock` while the context lasts; it is gone afterwards.

    After a crash, kill -9 included, the next process goes on at once: not the file is the lock, but
    the system's word about it. A job that SLURM requeued waits two minutes, in which a shared file
    system notices that the node on which it ran before is gone.

    Args:
        lock: a file in a folder that is there.
        what: what is worked on, for the message.

    Raises:
        Busy: another process holds it.
        UserError: the place is not writable.
    """
    held = FileLock(lock, timeout=_patience(), fallback_to_soft=False)
    with disk_errors(lock):
        _acquire(held, what)
    try:
        with suppress(OSError):  # a full disk: only the others' message is poorer
            lock.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        # while it is held: who waits for this file finds it gone, and takes a new one
        lock.unlink(missing_ok=True)
        held.release()


def _acquire(held: FileLock, what: str) -> None:
    try:
        held.acquire()
    except Timeout as error:
        holder = _holder(Path(held.lock_file))
        raise Busy(f"{what}: {holder} is at work on it; nothing was done here") from error
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _log.warning(
            "%s: this file system has no locks, so nobody else must run it", held.lock_file
        )


def _patience() -> float:
    return _REQUEUED_SECONDS if restarts() else 0.0


def _holder(lock: Path) -> str:
    try:
        holder = json.loads(lock.read_text())
        return f"process {holder['process']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
