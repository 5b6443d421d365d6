"""Runs that are on the disk, brought to W&B afterwards."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mamlbench.config import construct
from mamlbench.errors import UserError
from mamlbench.loggers import RunInfo, WandBLogger


@dataclass(frozen=True)
class KeptRun:
    """What a run's folder holds of it: `metrics.csv`, `config.yaml`, and once it is finished more.

    Attributes:
        folder: `.../<algorithm>/<dataset>/<setting>/<hash>/seed<seed>`.
        config: the composed config.
        rows: iteration and metrics of each logged iteration.
        summary: None while it is not finished.
    """

    folder: Path
    config: dict[str, Any]
    rows: list[tuple[int, dict[str, float]]]
    summary: dict[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> KeptRun:
        """The run in a folder that has a `metrics.csv`.

        Raises:
            UserError: a file is missing or damaged.
        """
        config = _read(folder / "config.yaml", yaml.safe_load)
        rows = _read(folder / "metrics.csv", _rows)
        summary = folder / "summary.json"
        finished = _read(summary, json.loads) if summary.is_file() else None
        if not isinstance(config, dict) or not isinstance(finished, dict | None):
            raise UserError(f"{folder}: its config.yaml or summary.json is not one of mamlbench's")
        return cls(folder, {k: v for k, v in config.items() if k != "about"}, rows, finished)

    @property
    def run_info(self) -> RunInfo:
        """As the run itself told its loggers: the same id and name."""
        folder = self.folder.absolute()
        algorithm, dataset, setting, hash_, seed = folder.parts[-5:]
        last = self.rows[-1][0] if self.rows else 0
        return RunInfo(
            directory=self.folder,
            name=f"{algorithm} {dataset} {setting} seed {seed.removeprefix('seed')}",
            run_id=f"{hash_}-{seed}",
            config=self.config,
            iteration=last,
            iterations=self.config["training"]["iterations"],
        )

    def logger(self, mode: str, timeout: float) -> WandBLogger:
        """To the project, entity, group and tags that the run was composed with."""
        options = dict((self.config.get("logger") or {}).get("wandb") or {})
        options.pop("_target_", None)
        options["tags"] = tuple(options.get("tags", ()))
        own = {"mode": mode, "timeout": timeout}
        return construct(WandBLogger, options | own, "logger.wandb")


def find_runs(places: Sequence[Path]) -> list[Path]:
    """The folders of all runs at or below `places`, each once, in order.

    Raises:
        UserError: a place that is not there, or has no run.
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


def send(run: KeptRun, mode: str, timeout: float) -> None:
    """Make W&B's copy of a run, or complete it: its rows are not sent twice.

    W&B shows a run without a summary as failed, until it is finished and sent again.

    Raises:
        UserError: W&B does not take it.
    """
    logger = run.logger(mode, timeout)
    try:
        logger.start(run.run_info)
        for iteration, metrics in run.rows:
            logger.log(iteration, metrics)
        logger.finish(run.summary)
    finally:
        logger.close()
    if logger.failure is not None:
        raise UserError(f"{run.folder}: W&B did not take it: {logger.failure}")
    if mode == "online":
        _mark_as_sent(run.folder)


def _mark_as_sent(folder: Path) -> None:
    """W&B's own mark, by which `wandb sync` passes over what is there already."""
    for log in folder.glob("wandb/offline-run-*/run-*.wandb"):
        log.with_name(f"{log.name}.synced").touch()


def _rows(text: str) -> list[tuple[int, dict[str, float]]]:
    # a last line without its end is being written, or was when the run was killed
    lines = text[: text.rfind("\n") + 1].splitlines()
    return list(_parsed(csv.DictReader(lines)))


def _parsed(rows: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, float]]]:
    for row in rows:
        iteration = int(row.pop("iteration"))
        yield iteration, {name: float(value) for name, value in row.items() if value}


def _read(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read: {why}") from error
