"""Sends runs on disk to W&B afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from mamlbench.config.build import construct
from mamlbench.errors import UserError
from mamlbench.locks import only_one
from mamlbench.loggers import RunInfo, WandBLogger
from mamlbench.loggers.csv_logger import kept_rows
from mamlbench.run.name import RunName


@dataclass(frozen=True)
class KeptRun:
    """A run read from its folder: `config.yaml`, `metrics.csv` and, if finished, `summary.json`.

    Attributes:
        folder: the run's folder, which may have been moved since the run.
        config: the composed config.
        rows: iteration and metrics of each logged iteration.
        summary: the summary; None if the run is unfinished.
        name: the run's name.
    """

    folder: Path
    config: dict[str, Any]
    rows: list[tuple[int, dict[str, float]]]
    summary: dict[str, Any] | None
    name: RunName

    @classmethod
    def read(cls, folder: Path) -> KeptRun:
        """Read the run in a folder.

        Raises:
            UserError: a file is missing or damaged, or the run's name cannot be determined.
        """
        config = _read(folder / "config.yaml", yaml.safe_load)
        rows = _read(folder / "metrics.csv", lambda text: list(kept_rows(text)))
        summary = folder / "summary.json"
        finished = _read(summary, json.loads) if summary.is_file() else None
        if not isinstance(config, dict) or not isinstance(finished, dict | None):
            raise UserError(f"{folder}: its config.yaml or summary.json is not one of mamlbench's")
        config.pop("about", None)
        return cls(folder, config, rows, finished, _name(folder, config, finished))

    @property
    def run_info(self) -> RunInfo:
        """The run's info for loggers, with the same id and name as during the run."""
        last = self.rows[-1][0] if self.rows else 0
        return RunInfo(
            directory=self.folder,
            name=self.name.label,
            run_id=self.name.id,
            config=self.config,
            iteration=last,
            iterations=self.config["training"]["iterations"],
        )

    def logger(self, mode: str, timeout: float) -> WandBLogger:
        """A W&B logger with the project, entity, group and tags in the run's config."""
        options = dict((self.config.get("logger") or {}).get("wandb") or {})
        options.pop("_target_", None)
        options["tags"] = tuple(options.get("tags", ()))
        own = {"mode": mode, "timeout": timeout}
        return construct(WandBLogger, options | own, "logger.wandb")


def _name(folder: Path, config: dict[str, Any], summary: dict[str, Any] | None) -> RunName:
    """The run's name, from its summary or its path.

    Raises:
        UserError: neither contains the name.
    """
    told: dict[str, Any] = {f.name: (summary or {}).get(f.name) for f in fields(RunName)}
    if None not in told.values():
        return RunName(**told)
    of_path = RunName.of_path(folder)
    if of_path is None or of_path.seed != config.get("seed"):
        accepted = "accepted is a run in the folder that it had below outputs"
        why = "neither summary.json nor its path gives its hash and names"
        raise UserError(f"{folder}: left out: {why}; {accepted}")
    return of_path


def find_runs(places: Sequence[Path]) -> list[Path]:
    """The folders of all runs at or below `places`, without duplicates, in order.

    Raises:
        UserError: a place does not exist or contains no run.
    """
    found: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place}: there is no such folder")
        logs = sorted(place.rglob("metrics.csv"))
        folders = [path.parent for path in logs if (path.parent / "config.yaml").is_file()]
        if not folders:
            accepted = "accepted is a run's folder, with config.yaml and metrics.csv, or one above"
            raise UserError(f"{place}: no runs in it; {accepted}")
        found |= dict.fromkeys(folders)
    return list(found)


def send(run: KeptRun, mode: str, timeout: float) -> int:
    """Send a run to W&B, or complete it there without sending rows twice.

    W&B shows a run without a summary as failed, until it is finished and sent again.

    Returns:
        The number of rows before the step that W&B has reached; W&B accepts none of them, whether
        it has them or not.

    Raises:
        Busy: a process is working on the run and may be logging it.
        UserError: W&B did not accept the run.
    """
    logger = run.logger(mode, timeout)
    with only_one(run.folder / ".lock", str(run.folder)):
        try:
            logger.start(run.run_info)
            for iteration, metrics in run.rows:
                logger.log(iteration, metrics)
            logger.finish(run.summary)
        finally:
            logger.close_when_sent()
    if logger.failure is not None:
        raise UserError(f"{run.folder}: W&B did not accept it: {logger.failure}")
    if mode == "online":
        _mark_as_sent(run.folder)
    return sum(iteration < logger.first_step for iteration, _ in run.rows)


def _mark_as_sent(folder: Path) -> None:
    """Create W&B's marker files, so that `wandb sync` skips the run's offline logs."""
    for log in folder.glob("wandb/offline-run-*/run-*.wandb"):
        log.with_name(f"{log.name}.synced").touch()


def _read(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read: {why}") from error
