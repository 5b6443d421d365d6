"""What only the `rl` extra brings, and what environments refuse."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from mamlbench.errors import UserError
from mamlbench.hardware.processes import share_of


def imported(name: str) -> Any:
    """A module of the `rl` extra.

    Raises:
        UserError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(
            f"{package}: {error}; this environment needs `pip install -e '.[rl]'` in the checkout"
        ) from error


def require_finite(what: str, values: np.ndarray) -> None:
    """Refuse values [T, R, ...] of which one is infinite or no number, naming its task.

    Raises:
        UserError: with the first such task and episode.
    """
    if np.isfinite(values).all():
        return
    rows = np.isfinite(values).reshape(*values.shape[:2], -1).all(-1)
    task, episode = np.argwhere(~rows)[0]
    raise UserError(f"{what} of task {task}, episode {episode}: not finite, has to be")


def cores() -> int:
    """Cores that this process may use, of those that several share its part."""
    known = hasattr(os, "sched_getaffinity")
    return share_of(len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1)
