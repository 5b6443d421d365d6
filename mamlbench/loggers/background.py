"""Runs work that may hang in a thread, so that nothing has to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Background:
    """A daemon thread that runs tasks in order.

    Args:
        failed: called with the first error; later tasks are dropped.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._tasks: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._broken = False
        threading.Thread(target=self._work, daemon=True).start()

    def do(self, task: Callable[[], object]) -> None:
        """Queue `task` to run after all earlier tasks; return at once."""
        self._tasks.put(lambda: self._broken or task())

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds`; return whether all queued tasks are done or dropped."""
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
