"""Imports of the `rl` extra, a check of values, and the cores to use."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from mamlbench.errors import UserError
from mamlbench.hardware.processes import share_of


def imported(name: str) -> Any:
    """Import a module of the `rl` extra.

    Raises:
        UserError: the module is not installed or cannot be loaded.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(
            f"{package}: {error}; this environment needs `pip install -e '.[rl]'` in the checkout"
        ) from error


def require_finite(what: str, values: np.ndarray) -> None:
    """Check that all values [T, R, ...] are finite.

    Raises:
        UserError: one is not; names the first such task and episode.
    """
    if np.isfinite(values).all():
        return
    rows = np.isfinite(values).reshape(*values.shape[:2], -1).all(-1)
    task, episode = np.argwhere(~rows)[0]
    raise UserError(f"{what} of task {task}, episode {episode}: not finite, but must be")


def cores() -> int:
    """Cores that this process may use: its share, if several processes share them."""
    known = hasattr(os, "sched_getaffinity")
    return share_of(len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1)
