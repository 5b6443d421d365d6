"""Signals that stop a run, which first saves its state between outer steps or test tasks."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stopped(Exception):
    """A run was asked to stop and has saved its state.

    Attributes:
        signal: the signal's number.
        iteration: outer steps done.
        tested: test tasks done; None if the run was training.
    """

    def __init__(self, signal: int, iteration: int, tested: int | None = None) -> None:
        self.signal, self.iteration, self.tested = signal, iteration, tested
        super().__init__(f"stopped at {self.place}")

    @property
    def place(self) -> str:
        """Where the run stopped, in words."""
        if self.tested is None:
            return f"iteration {self.iteration}"
        return f"iteration {self.iteration}, after {self.tested} test tasks"


class StopRequest:
    """A context in which SIGINT, SIGTERM and SIGUSR1 set `received` instead of ending the process.

    A SIGINT after another signal raises `KeyboardInterrupt` at once. Outside the main thread, where
    Python cannot set signal handlers, the context does nothing.

    Attributes:
        received: the number of the last signal; None before the first.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._receive) for s in STOPPING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
