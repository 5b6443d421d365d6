"""What was submitted: each submission's folder below `outputs/.sweep` keeps a list of its runs."""

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
    """A run that was submitted.

    Attributes:
        job: SLURM's id, `12_3` where it is of an array.
        overrides: its part of the command line.
        folder: where the run is kept; None where only the run itself can tell.
        log: what the job has printed.
    """

    job: str
    overrides: tuple[str, ...]
    folder: Path | None
    log: Path

    @property
    def returned(self) -> bool:
        """Whether submitit has written that the job came to its end."""
        return self.log.with_name(f"{self.job}_0_result.pkl").is_file()


def new_folder(sweep: Path) -> Path:
    """A new submission's folder."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = sweep / f"slurm-{stamp}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return folder


def log_of(folder: Path, job: str) -> Path:
    """Where submitit has a job's first task print."""
    return folder / f"{job}_0_log.out"


def keep(folder: Path, cells: Sequence[SubmittedCell]) -> None:
    """Write down which jobs were submitted for which runs.

    Raises:
        UserError: the disk is full or the place not writable.
    """
    entries = [
        {
            "job": cell.job,
            "overrides": list(cell.overrides),
            # from here, so that the outputs can move as a whole
            "folder": None if cell.folder is None else os.path.relpath(cell.folder, folder),
        }
        for cell in cells
    ]
    write_json(folder / _NAME, {"cells": entries})


def submissions(outputs: Path) -> Iterator[list[SubmittedCell]]:
    """The runs of each submission into `outputs`, the latest first; what is damaged is left out."""
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
    """The line with which a job's output ends, SLURM's and submitit's own words left out."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    own = ("srun: ", "slurmstepd", "submitit")
    said = [line.strip() for line in lines if line.strip() and not line.startswith(own)]
    return said[-1].removeprefix("mamlbench: ") if said else ""
