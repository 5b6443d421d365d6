"""Weights & Biases: a copy of metrics.csv under the same names; its failures never stop a run."""

from __future__ import annotations

import logging
import netrc
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mamlbench.errors import one_of, require
from mamlbench.loggers.background import Background
from mamlbench.loggers.base import Logger, RunInfo
from mamlbench.loggers.csv_logger import kept_rows

MODES = ("auto", "online", "offline", "disabled")
_STOPPING_SECONDS = 10.0
_log = logging.getLogger(__name__)


class WandBLogger(Logger):
    """Logs to W&B, with its files in `<run folder>/wandb`.

    A resumed run keeps its W&B id. W&B accepts rows only in order, so rows of metrics.csv that it
    lacks are sent first; rows that the run computes again are not sent twice. W&B is called in a
    thread, so training never waits for it; only the end of a run does, for at most twice
    `timeout`. If W&B does not answer at the start, the run is logged offline; after any other
    failure it goes on without W&B. There is one warning; `mamlbench-sync` completes the run later.

    Args:
        mode: `online`, `offline` (to be sent later), `disabled`, or `auto`: WANDB_MODE if set,
            otherwise online if the user is logged in (WANDB_API_KEY or a netrc entry), otherwise
            disabled: no prompt, no network, no files.
        project: W&B project.
        entity: user or team (None: the user's default).
        group: group of runs (None: no group).
        tags: tags of the run.
        timeout: seconds that W&B has to answer at the start, and again for the last upload.

    Attributes:
        failure: why W&B lacks a part of the run; None if it has the full run.
        first_step: the first iteration whose row W&B accepted; it refuses earlier rows, whether it
            has them or not.

    Raises:
        BadValue: the mode is unknown, or the timeout is not positive.
    """

    def __init__(
        self,
        mode: str = "auto",
        project: str = "mamlbench",
        entity: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        timeout: float = 30.0,
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
        self.failure: str | None = None
        self.first_step = 0
        self._folder = Path()
        self._run: Any = None
        self._thread: Background | None = None

    def start(self, run: RunInfo) -> None:
        """Open the W&B run in the thread, unless W&B is disabled."""
        mode = resolved_mode(self._mode)
        if mode != "disabled":
            os.environ.setdefault("WANDB_SILENT", "true")  # otherwise it prints which key it found
            # otherwise error reports are sent at exit, and the program waits for that
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
            # imported here, because a thread that is importing at exit crashes the program
            import wandb  # noqa: F401

            self._folder = run.directory
            self._thread = Background(self._left_out)
            self._thread.do(lambda: self._open(run, mode))

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Send a row, unless W&B already has it from before an interruption."""
        if self._thread is not None:
            row = {name: float(value) for name, value in metrics.items()}
            self._thread.do(lambda: self._send(iteration, row))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Send the summary; W&B shows a run that stopped early as failed until it resumes."""
        if self._thread is not None and summary is not None:
            self._thread.do(lambda: self._end(0, summary))
            self._await(2 * self._timeout)

    def close(self) -> None:
        """End the W&B run, as failed if it was not finished."""
        # after a signal to stop, there is little time left
        self._close_within(min(self._timeout, _STOPPING_SECONDS))

    def close_when_sent(self) -> None:
        """Like `close`, but wait as long as `finish` does for the logged rows."""
        self._close_within(2 * self._timeout)

    def _close_within(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.do(lambda: self._end(1, {}))
            self._await(seconds)
            self._thread = None

    # --- in the thread --------------------------------------------------------------------------

    def _open(self, run: RunInfo, mode: str) -> None:
        import wandb

        try:
            self._run = self._init(run, mode)
        except Exception as error:
            if mode != "online":
                raise
            self._warn("it is logged offline", error)
            wandb.teardown()  # otherwise the id counts as in use
            self._run = self._init(run, "offline")
        if self._run.url:
            _log.info("W&B: %s", self._run.url)
        if run.iteration:
            self.first_step = self._run.step
            self._send_kept(run)

    def _init(self, run: RunInfo, mode: Any) -> Any:
        import wandb

        return wandb.init(
            **self._place,
            id=run.run_id,
            name=run.name,
            config=run.config,
            dir=run.directory,
            # a fresh run replaces an old run with the same id instead of adding to it
            resume="allow" if run.iteration else None,
            settings=wandb.Settings(
                mode=mode,
                silent=True,
                console="off",
                init_timeout=self._timeout,
                finish_timeout=self._timeout,
                finish_timeout_raises=True,
            ),
        )

    def _send_kept(self, run: RunInfo) -> None:
        """Send earlier rows, which W&B may lack, for example if the user was not logged in."""
        log = run.directory / "metrics.csv"
        if log.is_file():
            for iteration, row in kept_rows(log.read_text(encoding="utf-8")):
                if iteration <= run.iteration:  # `log` gets the later ones
                    self._send(iteration, row)

    def _send(self, iteration: int, row: dict[str, float]) -> None:
        if iteration >= self._run.step:
            self._run.log(row, step=iteration, commit=True)

    def _end(self, exit_code: int, summary: dict[str, Any]) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.summary.update(summary)
            run.finish(exit_code=exit_code)

    # --- when W&B fails -------------------------------------------------------------------------

    def _await(self, seconds: float) -> None:
        if self._thread is not None and not self._thread.wait(seconds):
            self._thread = None
            self._left_out(TimeoutError(f"no answer within {seconds:g} s"))

    def _left_out(self, error: Exception) -> None:
        self._warn("the run goes on without it", error)
        _let_go()

    def _warn(self, instead: str, error: Exception) -> None:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if self.failure is None:
            later = f"`mamlbench-sync {self._folder}` completes it later"
            _log.warning("W&B does not get this run: %s (%s); %s", instead, reason, later)
        self.failure = reason


def resolved_mode(mode: str) -> str:
    """`mode`, with `auto` resolved to WANDB_MODE, or to online if logged in, else disabled."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "")
    if asked in MODES[1:]:
        return asked
    return "online" if is_logged_in() else "disabled"


def is_logged_in() -> bool:
    """Whether there is a key, in WANDB_API_KEY or, from `wandb login`, in the netrc file."""
    return bool(os.environ.get("WANDB_API_KEY")) or _in_netrc()


def _let_go() -> None:
    """End W&B's process in a thread; its own exit hook would make the program wait for it."""
    import wandb

    threading.Thread(target=wandb.teardown, daemon=True).start()


def _in_netrc() -> bool:
    """Whether the user's netrc file has a key for W&B's server."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    path = os.environ.get("NETRC") or "~/.netrc"
    try:
        entry = netrc.netrc(Path(path).expanduser()).authenticators(host)
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False
    return bool(entry and entry[2])
