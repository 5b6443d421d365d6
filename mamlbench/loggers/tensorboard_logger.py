"""TensorBoard: a copy of metrics.csv under the same names."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from mamlbench.errors import UserError
from mamlbench.files import disk_errors
from mamlbench.loggers.base import Logger, RunInfo


class TensorBoardLogger(Logger):
    """Writes event files to `<run folder>/tensorboard`.

    Raises:
        UserError: tensorboard is not installed, or (while logging) the disk refuses a file.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError(
                "logger=tensorboard: tensorboard is not installed; "
                "`pip install -e '.[tensorboard]'` in the checkout installs it"
            )
        self._folder = Path()
        self._writer: Any = None

    def start(self, run: RunInfo) -> None:
        """Open a new event file; TensorBoard ignores older events after `run.iteration`."""
        from torch.utils.tensorboard import SummaryWriter

        self._folder = run.directory / "tensorboard"
        first = run.iteration + 1 if run.iteration else 0
        with disk_errors(self._folder):
            self._writer = SummaryWriter(self._folder, purge_step=first)

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Add one point to each metric's curve."""
        with disk_errors(self._folder):
            for name, value in metrics.items():
                self._writer.add_scalar(name, float(value), iteration)
            self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with disk_errors(self._folder):
                writer.close()
