"""Weights & Biases: a copy of metrics.csv under the same names, which never stops a run."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mamlbench.errors import one_of, require
from mamlbench.loggers.base import Logger, RunInfo

MODES = ("auto", "online", "offline", "disabled")
_log = logging.getLogger(__name__)


class WandBLogger(Logger):
    """Logs to W&B, its files in `<run folder>/wandb`.

    A run that continues keeps its W&B id; the rows that it computes again are not sent twice. When
    W&B fails or does not answer, the run goes on without it, after one warning.

    Args:
        mode: `online`, `offline` (to be sent later by `wandb sync`), `disabled`, or `auto`: what
            WANDB_MODE says, else online where the user is logged in (WANDB_API_KEY or a netrc
            entry) and otherwise nothing at all: no question, no network, no file.
        project: W&B project.
        entity: user or team; None: the user's default.
        group: group of runs; None: no group.
        tags: tags of the run.
        timeout: seconds to wait for W&B at the start, and for the last upload at the end.

    Raises:
        BadValue: an unknown mode, or no time to wait.
    """

    def __init__(
        self,
        mode: str = "auto",
        project: str = "mamlbench",
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        timeout: float = 60.0,
    ) -> None:
        one_of("mode", mode, MODES)
        require(timeout > 0, "timeout", timeout, "more than 0")
        self._mode, self._timeout = mode, timeout
        self._place: dict[str, Any] = {
            "project": project,
            "entity": entity,
            "group": group,
            "tags": list(tags),
        }
        self._run: Any = None

    def start(self, run: RunInfo) -> None:
        """Open the W&B run, or stay out of the way."""
        mode: Any = _auto() if self._mode == "auto" else self._mode
        if mode == "disabled":
            return
        try:
            import wandb

            self._run = wandb.init(
                **self._place,
                id=run.run_id,
                name=run.name,
                config=run.config,
                dir=run.directory,
                # a run begun anew replaces the old one of the same id instead of adding to it
                resume="allow" if run.iteration else None,
                settings=wandb.Settings(
                    mode=mode,
                    silent=True,
                    console="off",
                    init_timeout=self._timeout,
                    finish_timeout=self._timeout,
                ),
            )
            if mode == "online":
                _log.info("W&B: %s", self._run.url)
        except Exception as error:
            self._give_up(error)

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Send a row, unless W&B has it from before the run was interrupted."""
        if self._run is None:
            return
        try:
            if iteration >= self._run.step:
                row = {name: float(value) for name, value in metrics.items()}
                self._run.log(row, step=iteration, commit=True)
        except Exception as error:
            self._give_up(error)

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Send the summary; W&B shows a run that stopped early as failed until it continues."""
        if self._run is None or summary is None:
            return
        try:
            self._run.summary.update(summary)
            self._run.finish(exit_code=0)
            self._run = None
        except Exception as error:
            self._give_up(error)

    def close(self) -> None:
        """End W&B's process for this run, as failed if it was not finished."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.finish(exit_code=1)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._run = None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        _log.warning("W&B is left out of this run, which goes on without it: %s", reason)


def _auto() -> str:
    asked = os.environ.get("WANDB_MODE", "")
    if asked in MODES[1:]:
        return asked
    return "online" if os.environ.get("WANDB_API_KEY") or _in_netrc() else "disabled"


def _in_netrc() -> bool:
    """Whether `wandb login` left a key for W&B's server in the user's netrc."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    path = os.environ.get("NETRC") or "~/.netrc"
    try:
        entry = netrc.netrc(Path(path).expanduser()).authenticators(host)
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False
    return bool(entry and entry[2])
