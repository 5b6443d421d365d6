"""Work that may hang, done where nobody has to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Background:
    """A thread that does what it is given, in order, and that does not outlive the program.

    Args:
        failed: told of the first error; what comes after that error is dropped.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._tasks: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._broken = False
        threading.Thread(target=self._work, daemon=True).start()

    def do(self, task: Callable[[], object]) -> None:
        """Do `task` after all that was given before; returns at once."""
        self._tasks.put(lambda: self._broken or task())

    def wait(self, seconds: float) -> bool:
        """Whether all that was given is done, or dropped, within so many seconds."""
        done = threading.Event()
        self._tasks.put(done.set)
        return done.wait(seconds)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task()
            except Exception as error:
                self._broken = True
                self._failed(error)
