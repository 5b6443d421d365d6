"""A run's folder, its files, and the provenance recorded there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mamlbench.errors import UserError
from mamlbench.files import (
    at_home,
    disk_errors,
    read_yaml,
    remove_leftovers,
    write_atomically,
    write_json,
)
from mamlbench.locks import only_one
from mamlbench.run import status
from mamlbench.run.name import RunName
from mamlbench.run.provenance import changed_files, commit, versions

_OF_A_RUN = (
    "config.yaml",
    "metrics.csv",
    "test_tasks.csv",
    "active_learning.csv",
    status.SUMMARY,
    "checkpoint.pt",
    "checkpoint_before.pt",
    "checkpoint_damaged.pt",
    "best.pt",
)

_BEGUN_ANEW_BY = "begun_anew_by"


@dataclass(frozen=True)
class RunFolder:
    """A run's folder, `outputs/<name>/<path of the run>`; see `RunName`.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def of(cls, config: Mapping[str, Any], run: RunName) -> RunFolder:
        """The folder of a run, from the config's `outputs` and `name`."""
        return cls(at_home(config["outputs"]) / config["name"] / run.path)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Create the folder and lock it for this process until the context ends.

        Raises:
            Busy: another process has locked the folder.
            UserError: the folder is not writable.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with only_one(self.path / ".lock", str(self.path)):
            remove_leftovers(self.path)
            yield

    def clear(self) -> None:
        """Remove an earlier run's files, first the summary, which marks it as finished."""
        self.summary.unlink(missing_ok=True)
        for name in _OF_A_RUN:
            (self.path / name).unlink(missing_ok=True)
        drawn = *self.figures.glob("*.png"), *self.figures.glob("*.gif")
        for file in (*self.path.glob("best_*.pt"), *drawn):
            file.unlink()
        self.remove_scores_so_far()

    def was_begun_anew_by(self, job: str | None) -> bool:
        """Whether this SLURM job has already restarted the run with `restart=true`."""
        return job is not None and self._about().get(_BEGUN_ANEW_BY) == job

    def changed_code(self) -> list[str]:
        """Source files of the run's classes that have changed since it began."""
        about = self._about()
        before, now = about.get("changed_code") or [], changed_files(about.get("code") or {})
        return list(dict.fromkeys([*before, *now]))

    def _about(self) -> dict[str, Any]:
        try:
            return dict(read_yaml(self.path / "config.yaml")["about"])
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return {}

    def scores_so_far(self, rank: int) -> Path:
        """The file with one process's scores of an unfinished test."""
        return self.path / f"test_so_far_{rank}.npz"

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary, which marks the run as finished."""
        write_json(self.summary, summary)
        self.remove_scores_so_far()

    def remove_scores_so_far(self) -> None:
        """Remove the partial scores, because the test is over or begins again."""
        for file in self.path.glob("test_so_far_*.npz"):
            file.unlink()

    def remove_if_empty(self, outputs: Path) -> None:
        """Remove the folder and its parents up to `outputs`, as long as they are empty.

        A run folder with nothing but `status.json` counts as empty.
        """
        with suppress(OSError):
            if [path.name for path in self.path.iterdir()] == [status.NAME]:
                (self.path / status.NAME).unlink()
            for folder in (self.path, *self.path.parents):
                folder.rmdir()
                if folder == outputs:
                    break

    def read_summary(self) -> dict[str, Any]:
        """The content of `summary.json`.

        Raises:
            UserError: the file is not JSON.
        """
        try:
            summary: dict[str, Any] = json.loads(self.summary.read_text())
        except ValueError as error:
            raise UserError(
                f"{self.summary}: damaged, it is not JSON; remove it to have it written again from "
                "the checkpoint, or give restart=true to start over"
            ) from error
        return summary

    def read_result(self, content: Callable[[], str | None]) -> dict[str, Any]:
        """Like `read_summary`, but check that the result was computed on the present data.

        Args:
            content: returns the hash of the present data; None if there are none.

        Raises:
            UserError: the summary is damaged, or was computed on other data.
        """
        summary = self.read_summary()
        found, now = summary.get("data_sha256"), content()
        if None not in (found, now) and found != now:
            raise UserError(
                f"{self.path}: is a result on other data (sha256 {str(found)[:12]}, now "
                f"{str(now)[:12]}); restart=true starts over, name=... keeps both"
            )
        return summary

    @property
    def summary(self) -> Path:
        """`summary.json`; it exists once a run is finished."""
        return self.path / status.SUMMARY

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.path / "figures"

    def write_config(
        self,
        config: dict,
        command: str,
        code: Mapping[str, str],
        goes_on: bool,
        begun_anew_by: str | None = None,
    ) -> None:
        """Write `config.yaml`: the composed config, with provenance under `about`.

        Args:
            config: the composed config.
            command: the command line.
            code: hashes of the source files of the run's classes; see `code_files`.
            goes_on: whether the run resumes from a checkpoint.
            begun_anew_by: the SLURM job that ran with `restart=true`.
        """
        changed = self.changed_code() if goes_on else []
        about: dict[str, Any] = {"command": command, "versions": versions(), "commit": commit()}
        about |= {"code": dict(code), **({"changed_code": changed} if changed else {})}
        if begun_anew_by is not None:
            about[_BEGUN_ANEW_BY] = begun_anew_by
        text = yaml.safe_dump({**config, "about": about}, sort_keys=False, width=100)
        write_atomically(self.path / "config.yaml", text)
