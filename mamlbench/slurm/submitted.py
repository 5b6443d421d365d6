"""Records submissions: each has a folder below `outputs/.sweep` with a list of its runs."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mamlbench.files import write_json

_NAME = "cells.json"


@dataclass(frozen=True)
class SubmittedCell:
    """A submitted run.

    Attributes:
        job: SLURM's job id, such as `12_3` in an array.
        overrides: the run's overrides.
        folder: the run's folder; None if only the run itself knows it.
        log: the file with the job's output.
    """

    job: str
    overrides: tuple[str, ...]
    folder: Path | None
    log: Path

    @property
    def returned(self) -> bool:
        """Whether submitit has written the job's result file."""
        return self.log.with_name(f"{self.job}_0_result.pkl").is_file()


def new_folder(sweep: Path) -> Path:
    """Create the folder of a new submission."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = sweep / f"slurm-{stamp}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return folder


def log_of(folder: Path, job: str) -> Path:
    """submitit's log file of a job's first task."""
    return folder / f"{job}_0_log.out"


def keep(folder: Path, cells: Sequence[SubmittedCell]) -> None:
    """Record which job was submitted for which run.

    Raises:
        UserError: the disk is full or the folder is not writable.
    """
    entries = [
        {
            "job": cell.job,
            "overrides": list(cell.overrides),
            # a relative path, so that the outputs folder can be moved
            "folder": None if cell.folder is None else os.path.relpath(cell.folder, folder),
        }
        for cell in cells
    ]
    write_json(folder / _NAME, {"cells": entries})


def submissions(outputs: Path) -> Iterator[list[SubmittedCell]]:
    """The runs of each submission below `outputs`, latest first; damaged records are skipped."""
    for path in sorted(outputs.glob(f".sweep/slurm-*/{_NAME}"), reverse=True):
        try:
            entries: Any = json.loads(path.read_text())["cells"]
            yield [_cell(path.parent, entry) for entry in entries]
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _cell(folder: Path, entry: dict[str, Any]) -> SubmittedCell:
    place = entry["folder"]
    return SubmittedCell(
        job=entry["job"],
        overrides=tuple(entry["overrides"]),
        folder=None if place is None else Path(os.path.normpath(folder / place)),
        log=log_of(folder, entry["job"]),
    )


def last_error(log: Path) -> str:
    """The last line of a job's output, ignoring lines of SLURM and submitit."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    own = ("srun: ", "slurmstepd", "submitit")
    said = [line.strip() for line in lines if line.strip() and not line.startswith(own)]
    return said[-1].removeprefix("mamlbench: ") if said else ""
