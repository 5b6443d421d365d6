"""The state of each run below an outputs folder, such as queued, running or failed.

Determined from the runs' own files, the submissions, and squeue where there is SLURM.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from mamlbench.errors import UserError
from mamlbench.report import progress
from mamlbench.report.progress import Progress
from mamlbench.report.sheets import markdown_table
from mamlbench.run.status import FAILED, PRUNED, RUNNING, STOPPED, Status, read, works_here
from mamlbench.slurm import queue
from mamlbench.slurm.submitted import SubmittedCell, last_error, submissions
from mamlbench.words import number_of

STATES = ("running", "queued", "preempted", "failed", "pruned", "finished")
_FILES_OF_A_RUN = ("config.yaml", "status.json", "summary.json")
_MOST_ROWS = 40
_SEED = re.compile(r"(^|/)seed\d+$")
_GOES_ON = "the same command continues it"
_WITHOUT_A_WORD = "ended without saying why"
_NOBODY_TO_ASK = "submitted; its state is unknown without squeue"
_GONE = queue.Job("GONE", "", "")
"""A job that squeue does not list; SLURM forgets jobs minutes after they end."""
_TELLS_NOTHING = ("GONE", "COMPLETED", "COMPLETING", "FAILED")


@dataclass(frozen=True)
class Row:
    """The state of one run.

    Attributes:
        state: one of `STATES`.
        run: its folder, or its command line if the folder is unknown.
        job: SLURM's job id, if any.
        iteration: outer steps done and planned, as `200/4000`.
        left: estimated time to the end of meta-training.
        note: why it waits, stopped or failed.
    """

    state: str
    run: str
    job: str = ""
    iteration: str = ""
    left: str = ""
    note: str = ""


def show(outputs: Path) -> str:
    """The states of the runs below `outputs` (or a folder within it), as text for a terminal.

    Raises:
        UserError: the folder does not exist, and no run in it was submitted.
    """
    rows = collect(outputs)
    if not rows and not outputs.is_dir():
        raise UserError(f"{outputs}: there is no such folder; accepted is one with runs below")
    if not rows:
        return f"no runs in {outputs}\n"
    counts = Counter(row.state for row in rows)
    told = ", ".join(f"{counts[state]} {state}" for state in STATES)
    shown = [
        row for state in STATES for row in _shortened([row for row in rows if row.state == state])
    ]
    columns = [field.name for field in fields(Row)]
    table = markdown_table(columns, list(map(astuple, shown)), left=len(columns))
    return f"{number_of(len(rows), 'run')} in {outputs}: {told}\n\n{table}\n"


def collect(outputs: Path) -> list[Row]:
    """A row for each run below `outputs`, including runs that were only submitted."""
    root = _root(outputs)
    newest: dict[Path, SubmittedCell] = {}
    homeless: list[SubmittedCell] = []
    for number, cells in enumerate(submissions(root)):
        for cell in cells:
            if cell.folder is not None:
                newest.setdefault(cell.folder, cell)
            elif number == 0:  # earlier ones may have been repeated since
                homeless.append(cell)
    asked = outputs.absolute()
    folders = set(_run_folders(asked)) | {f for f in newest if asked == f or asked in f.parents}
    known = queue.jobs()
    rows = [_row(folder, root, newest.get(folder), known) for folder in sorted(folders)]
    if asked == root:
        rows += [_homeless(cell, known) for cell in homeless]
    return rows


def _root(outputs: Path) -> Path:
    """The `outputs` folder of the sweeps, which may lie above the given one."""
    path = outputs.absolute()
    return next((p for p in (path, *path.parents) if (p / ".sweep").is_dir()), path)


def _run_folders(folder: Path) -> Iterator[Path]:
    """The runs' folders at and below a folder; run folders are not searched."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    if any(entry.name in _FILES_OF_A_RUN for entry in entries):
        yield folder
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _run_folders(Path(entry.path))


def _row(
    folder: Path, root: Path, cell: SubmittedCell | None, known: dict[str, queue.Job] | None
) -> Row:
    name = os.path.relpath(folder, root)
    status = read(folder)
    begun_anew = status is not None and status.state == RUNNING and works_here(status)
    if (folder / "summary.json").is_file() and not begun_anew:
        return Row("finished", name)
    job = cell.job if cell is not None else (status.job if status is not None else None)
    slurm = _GONE if job is not None else None
    if known is None:
        slurm = None
    elif job in known:
        slurm = known[job]
    state, note = _state(folder, status, cell, slurm)
    if state == "queued":
        return Row(state, name, job or "", note=note)
    done = progress.of(folder)
    if status is not None and status.iteration is not None:
        done = Progress(status.iteration, done.iterations, None)
    left = done.left_in_words if state == "running" else ""
    return Row(state, name, job or "", done.in_words, left, note)


def _state(
    folder: Path, status: Status | None, cell: SubmittedCell | None, slurm: queue.Job | None
) -> tuple[str, str]:
    """One of `STATES`, and a note on it.

    `slurm` is None for a run without a job, and if there is no squeue.
    """
    said = None if status is None else status.state
    if slurm is not None and slurm.is_waiting:
        begun = status is not None or (folder / "checkpoint.pt").is_file()
        return ("preempted", f"queued again: {slurm.reason}") if begun else ("queued", slurm.reason)
    if slurm is not None and slurm.is_alive and said != STOPPED:
        return "running", f"time limit in {slurm.left}"
    if cell is not None and slurm is None and status is None:
        return "queued", _NOBODY_TO_ASK
    ended = "" if slurm is None or slurm.state in _TELLS_NOTHING else f"{slurm.state}: "
    if status is not None and said in (FAILED, PRUNED):
        return said, status.error or ""
    if status is not None and said == STOPPED:
        return "preempted", f"{ended}stopped by {status.signal}; {_GOES_ON}"
    if status is not None and slurm is None and (works := works_here(status)) is not False:
        return "running", "" if works else f"on {status.host}, according to status.json"
    if cell is not None:
        return "failed", ended + (last_error(cell.log) or _WITHOUT_A_WORD)
    return "failed", f"{ended}{_WITHOUT_A_WORD}; {_GOES_ON}"


def _homeless(cell: SubmittedCell, known: dict[str, queue.Job] | None) -> Row:
    """A row for a submitted run whose folder is unknown until the run itself tells it."""
    name = " ".join(cell.overrides)
    if cell.returned:
        return Row("finished", name, cell.job)
    if known is None:
        return Row("queued", name, cell.job, note=_NOBODY_TO_ASK)
    slurm = known.get(cell.job, _GONE)
    if slurm.is_alive:
        state = "queued" if slurm.is_waiting else "running"
        return Row(state, name, cell.job, note=slurm.reason if slurm.is_waiting else "")
    return Row("failed", name, cell.job, note=last_error(cell.log) or _WITHOUT_A_WORD)


def _shortened(rows: list[Row]) -> Iterable[Row]:
    """Merge finished runs that differ only in the seed, and limit the number of rows."""
    if rows and rows[0].state == "finished":
        together: dict[str, list[str]] = {}
        for row in rows:
            together.setdefault(row.run.rpartition("/")[0] or row.run, []).append(row.run)
        rows = [
            Row("finished", runs[0]) if len(runs) == 1 else _together(folder, runs)
            for folder, runs in together.items()
        ]
    left_out = len(rows) - _MOST_ROWS
    if left_out > 1:
        return [*rows[:_MOST_ROWS], Row(rows[0].state, f"and {left_out} more")]
    return rows


def _together(folder: str, runs: Sequence[str]) -> Row:
    seeds = all(_SEED.search(run) for run in runs)
    return Row("finished", folder, note=number_of(len(runs), "seed" if seeds else "run"))
