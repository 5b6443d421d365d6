"""How far a run has got and how long it still needs, read from its config and metrics.csv."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from mamlbench.files import read_yaml
from mamlbench.loggers.csv_logger import kept_rows


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        iteration: outer steps done, by the last row of metrics.csv (0 without one) or status.json.
        iterations: outer steps planned; None if config.yaml does not say.
        seconds_left: estimated time to the end of meta-training; None if unknown.
    """

    iteration: int
    iterations: int | None
    seconds_left: float | None

    @property
    def in_words(self) -> str:
        """`200/4000`."""
        return f"{self.iteration}/{self.iterations or '?'}"

    @property
    def left_in_words(self) -> str:
        """`0:01:30`, or an empty text if unknown."""
        left = self.seconds_left
        return "" if left is None else str(timedelta(seconds=round(left)))


def of(folder: Path) -> Progress:
    """The progress of the run in a folder."""
    iterations, batch = _planned(folder / "config.yaml")
    path = folder / "metrics.csv"
    iteration, rate = _last_logged(path)
    if iterations is None or batch is None or not rate:
        return Progress(iteration, iterations, None)
    since = max(0.0, time.time() - path.stat().st_mtime)
    left = (iterations - iteration) * batch / rate - since
    return Progress(iteration, iterations, max(0.0, left))


def _planned(path: Path) -> tuple[int | None, int | None]:
    try:
        training = read_yaml(path)["training"]
        return int(training["iterations"]), int(training["meta_batch_size"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return None, None


def _last_logged(path: Path) -> tuple[int, float | None]:
    """The last iteration and tasks per second before the first damaged row."""
    iteration, rate = 0, None
    with suppress(OSError, ValueError, KeyError, TypeError):
        for iteration, row in kept_rows(path.read_text("utf-8")):  # noqa: B007 -- returned
            rate = row.get("tasks_per_second", rate)
    return iteration, rate
