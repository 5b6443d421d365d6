"""Weights & Biases: a copy of metrics.csv under the same names, which never stops a run."""

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
    """Logs to W&B, its files in `<run folder>/wandb`.

    A run that continues keeps its W&B id; the rows that it computes again are not sent twice, and
    those of metrics.csv that W&B has not got yet are sent first: it takes them in order only. W&B
    is called in a thread of its own, and training never waits for it; only the end of a run does,
    for twice `timeout` at most. Where W&B does not answer, the run is logged offline, and where it
    fails otherwise, the run goes on without it; after one warning. `mamlbench-sync` completes it.

    Args:
        mode: `online`, `offline` (to be sent later), `disabled`, or `auto`: what WANDB_MODE says,
            else online where the user is logged in (WANDB_API_KEY or a netrc entry) and otherwise
            nothing at all: no question, no network, no file.
        project: W&B project.
        entity: user or team; None: the user's default.
        group: group of runs; None: no group.
        tags: tags of the run.
        timeout: seconds that W&B has to answer at the start, and again for the last upload.

    Attributes:
        failure: why W&B has less than the whole run, None if it has it.
        first_step: from which iteration on W&B took rows: those before it had, or takes no more.

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
        """Open the W&B run, or stay out of the way."""
        mode = resolved_mode(self._mode)
        if mode != "disabled":
            os.environ.setdefault("WANDB_SILENT", "true")  # it would tell which key it found
            # it would be sent when the program ends, which waits for it
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
            # here: a thread that imports when the program ends takes the program down with it
            import wandb  # noqa: F401

            self._folder = run.directory
            self._thread = Background(self._left_out)
            self._thread.do(lambda: self._open(run, mode))

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Send a row, unless W&B has it from before the run was interrupted."""
        if self._thread is not None:
            row = {name: float(value) for name, value in metrics.items()}
            self._thread.do(lambda: self._send(iteration, row))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Send the summary; W&B shows a run that stopped early as failed until it continues."""
        if self._thread is not None and summary is not None:
            self._thread.do(lambda: self._end(0, summary))
            self._await(2 * self._timeout)

    def close(self) -> None:
        """End W&B's part in this run, as failed if it was not finished."""
        # who was asked to stop has little time left
        self._close_within(min(self._timeout, _STOPPING_SECONDS))

    def close_when_sent(self) -> None:
        """The same, with as much time for what was logged as `finish` has."""
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
            wandb.teardown()  # else the id counts as in use
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
            # a run begun anew replaces the old one of the same id instead of adding to it
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
        """The rows from before this start: W&B did not get them where nobody was logged in."""
        log = run.directory / "metrics.csv"
        if log.is_file():
            for iteration, row in kept_rows(log.read_text(encoding="utf-8")):
                if iteration <= run.iteration:  # later ones are given to `log`
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
    """`mode`, or what `auto` comes to: WANDB_MODE, else online for who is logged in."""
    if mode != "auto":
        return mode
    asked = os.environ.get("WANDB_MODE", "")
    if asked in MODES[1:]:
        return asked
    return "online" if is_logged_in() else "disabled"


def is_logged_in() -> bool:
    """Whether there is a key: WANDB_API_KEY, or what `wandb login` left in the netrc."""
    return bool(os.environ.get("WANDB_API_KEY")) or _in_netrc()


def _let_go() -> None:
    """Have W&B's process end without anybody waiting for it, as its own hook at exit would."""
    import wandb

    threading.Thread(target=wandb.teardown, daemon=True).start()


def _in_netrc() -> bool:
    """Whether `wandb login` left a key for W&B's server in the user's netrc."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    path = os.environ.get("NETRC") or "~/.netrc"
    try:
        entry = netrc.netrc(Path(path).expanduser()).authenticators(host)
    except (OSError, RuntimeError, netrc.NetrcParseError):
        return False
    return bool(entry and entry[2])
