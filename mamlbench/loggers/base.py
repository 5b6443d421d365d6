"""The interface of every logger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class RunInfo:
    """What a logger is told of a run.

    Attributes:
        directory: the run's folder.
        name: the run's name, for people.
        run_id: the same for every continuation of a run (config hash and seed).
        config: the composed config.
        iteration: 0 for a fresh run, else the iteration of the checkpoint it continues from.
        iterations: iterations in all.
    """

    directory: Path
    name: str
    run_id: str
    config: dict[str, Any]
    iteration: int
    iterations: int


class Logger(ABC):
    """Where a run's numbers go: `start`, then `log` and `progress`, `tested`, `finish`, `close`."""

    @abstractmethod
    def start(self, run: RunInfo) -> None:
        """The run begins, or continues after `run.iteration`."""

    @abstractmethod
    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Everything that is known at `iteration`; once an iteration, in ascending order."""

    def progress(self, iteration: int) -> None:  # noqa: B027 -- most loggers need none
        """`iteration` is done; called after each of them, so it must cost next to nothing."""

    def tested(self, tasks: int, of: int) -> None:  # noqa: B027
        """So many tasks of the test are done; called before the first too."""

    def finish(self, summary: dict[str, Any] | None) -> None:  # noqa: B027
        """The run ended: with its summary, or with None where it stopped early."""

    def close(self) -> None:  # noqa: B027
        """Let go of files and processes; the last call, after `finish` or after an error."""


class Loggers(list[Logger], Logger):
    """Several loggers as one; a context manager that closes them whatever happens."""

    def start(self, run: RunInfo) -> None:
        """Start each logger, in order."""
        for logger in self:
            logger.start(run)

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Log to each."""
        for logger in self:
            logger.log(iteration, metrics)

    def progress(self, iteration: int) -> None:
        """Tell each."""
        for logger in self:
            logger.progress(iteration)

    def tested(self, tasks: int, of: int) -> None:
        """Tell each."""
        for logger in self:
            logger.tested(tasks, of)

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Finish each."""
        for logger in self:
            logger.finish(summary)

    def close(self) -> None:
        """Close every logger, then raise the first error that one of them met."""
        errors = []
        for logger in self:
            try:
                logger.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def __enter__(self) -> Loggers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
