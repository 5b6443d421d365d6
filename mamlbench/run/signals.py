"""Signals that ask a run to stop: it saves its state between two outer steps, or test tasks."""

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
        tested: test tasks done; None while it trained.
    """

    def __init__(self, signal: int, iteration: int, tested: int | None = None) -> None:
        self.signal, self.iteration, self.tested = signal, iteration, tested
        super().__init__(f"stopped at {self.place}")

    @property
    def place(self) -> str:
        """Where, in words."""
        if self.tested is None:
            return f"iteration {self.iteration}"
        return f"iteration {self.iteration}, after {self.tested} test tasks"


class StopRequest:
    """A context in which SIGINT, SIGTERM and SIGUSR1 set `received` instead of ending the process.

    A second SIGINT ends it at once, for who cannot wait. Outside of the main thread, where Python
    takes no handlers, it does nothing.

    Attributes:
        received: the signal's number, None before there was one.
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
