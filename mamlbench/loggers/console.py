"""Shows a run's progress in the terminal."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from mamlbench.loggers.base import Logger, RunInfo

_REFRESH_SECONDS = 0.1
_LINE_SECONDS = 30
"""Interval between a test's lines when there is no bar."""


class ConsoleProgress(Logger):
    """A progress bar on stderr, or a line per logged iteration if stderr is not a terminal.

    Shows the iteration, the latest metrics, tasks per second and the time left; then the progress
    of the test.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._first = self._total = self._shown = 0
        self._began = self._drawn = 0.0
        self._testing = False
        self._metrics: dict[str, float] = {}

    def start(self, run: RunInfo) -> None:
        """Start measuring time; draw the bar if stderr is a terminal."""
        self._first = self._shown = run.iteration
        self._total, self._metrics = run.iterations, {}
        self._began = time.monotonic()
        self._drawn, self._testing = 0.0, False
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[status]}"),
                console=self._console,
            )
            self._bar.add_task(
                escape(run.name), total=run.iterations, completed=run.iteration, status=""
            )
            self._bar.start()

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Show the metrics: in the bar the latest value of each, in a line only the new ones."""
        self._metrics.update(metrics)
        self._shown = iteration
        if self._bar is None:
            self._console.print(self._status(metrics), markup=False, soft_wrap=True)
        else:
            self._draw()

    def progress(self, iteration: int) -> None:
        """Move the bar, at most ten times a second."""
        self._shown = iteration
        if self._bar is not None and time.monotonic() - self._drawn > _REFRESH_SECONDS:
            self._draw()

    def tested(self, tasks: int, of: int) -> None:
        """Show the test's progress: move the bar, or print a line at most twice a minute."""
        now = time.monotonic()
        if not self._testing:
            self._began, self._drawn, self._testing = now, now, True
            self._first = tasks  # tasks done before an interruption
        left = self._left(tasks - self._first, of - tasks)
        status = "  ".join([f"tested {tasks:,} of {of:,} tasks", *left])
        if self._bar is None:
            if tasks and now - self._drawn > _LINE_SECONDS:
                self._console.print(status, markup=False, soft_wrap=True)
                self._drawn = now
        elif now - self._drawn > _REFRESH_SECONDS or tasks in (0, of):
            self._bar.update(self._bar.task_ids[0], completed=tasks, total=of, status=status)
            self._drawn = now

    def close(self) -> None:
        """Stop the bar in its last state and release the terminal."""
        if self._bar is not None:
            if not self._testing:
                self._draw()
            self._bar.stop()
            self._bar = None

    def _draw(self) -> None:
        if self._bar is not None:
            status = escape(self._status(self._metrics))
            self._bar.update(self._bar.task_ids[0], completed=self._shown, status=status)
            self._drawn = time.monotonic()

    def _left(self, done: int, to_do: int) -> list[str]:
        if done <= 0:
            return []
        left = (time.monotonic() - self._began) / done * to_do
        return [f"{timedelta(seconds=round(left))} left"]

    def _status(self, metrics: dict[str, float]) -> str:
        """The status line, most important parts first, because a narrow terminal cuts the end."""
        left = self._left(self._shown - self._first, self._total - self._shown)
        parts = [f"{self._shown}/{self._total}", *left]
        for name, value in metrics.items():
            if name == "tasks_per_second":
                parts.insert(2, f"{value:,.3g} tasks/s" if value < 100 else f"{value:,.0f} tasks/s")
            elif not name.endswith("_ci95"):
                parts.append(f"{name} {value:.4g}")
        return "  ".join(parts)
