"""The interface of every logger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class RunInfo:
    """Information about a run for its loggers.

    Attributes:
        directory: the run's folder.
        name: the run's name for people.
        run_id: id from config hash and seed, unchanged when a run resumes.
        config: the composed config.
        iteration: 0 for a fresh run, otherwise the iteration of the checkpoint it resumes from.
        iterations: total number of iterations.
    """

    directory: Path
    name: str
    run_id: str
    config: dict[str, Any]
    iteration: int
    iterations: int


class Logger(ABC):
    """A logger: `start`, then `log` and `progress`, then `tested`, `finish` and `close`."""

    @abstractmethod
    def start(self, run: RunInfo) -> None:
        """The run starts, or resumes after `run.iteration`."""

    @abstractmethod
    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Log all metrics of an iteration; called at most once for each, in ascending order."""

    def progress(self, iteration: int) -> None:  # noqa: B027 -- most loggers need none
        """An iteration is done; called after every one, so it must be cheap."""

    def tested(self, tasks: int, of: int) -> None:  # noqa: B027
        """`tasks` of `of` test tasks are done; also called before the first."""

    def finish(self, summary: dict[str, Any] | None) -> None:  # noqa: B027
        """The run ended with this summary, or stopped early (None)."""

    def close(self) -> None:  # noqa: B027
        """Release files and processes; the last call, after `finish` or an error."""


class Loggers(list[Logger], Logger):
    """Several loggers as one, and a context manager that always closes them."""

    def start(self, run: RunInfo) -> None:
        """Start each logger in order."""
        for logger in self:
            logger.start(run)

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Log to each logger."""
        for logger in self:
            logger.log(iteration, metrics)

    def progress(self, iteration: int) -> None:
        """Report progress to each logger."""
        for logger in self:
            logger.progress(iteration)

    def tested(self, tasks: int, of: int) -> None:
        """Report the test's progress to each logger."""
        for logger in self:
            logger.tested(tasks, of)

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Finish each logger."""
        for logger in self:
            logger.finish(summary)

    def close(self) -> None:
        """Close every logger, then raise the first error, if any."""
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
