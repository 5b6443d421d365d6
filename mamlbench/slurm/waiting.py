"""Waits for submitted runs, by their files and by one squeue call for all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from mamlbench.errors import UserError
from mamlbench.run import status as run_status
from mamlbench.slurm import queue
from mamlbench.slurm.submitted import SubmittedCell, last_error
from mamlbench.sweeps.cells import Cell

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 20.0
_PATIENCE = 600.0  # seconds without an answer from squeue; each call may take half a minute
_FILES_LATE = 75.0  # seconds; NFS may show another machine's new files only after 60


def wait_for(
    jobs: Sequence[SubmittedCell], cells: Sequence[Cell]
) -> list[float | UserError | None]:
    """Wait until each job has ended; return each run's test metric, an error, or None.

    None is for a run without such a number, such as a pruned trial.

    Raises:
        UserError: squeue has not answered for ten minutes.
    """
    names = _names(cells)
    ended: dict[int, float | UserError | None] = {}
    seen_to_end: dict[int, float] = {}
    pause, answered = _FIRST_PAUSE, time.monotonic()
    try:
        while len(ended) < len(jobs):
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            known, now = queue.jobs(), time.monotonic()
            if known is None:
                _require_patience(now - answered)
                continue
            answered = now
            for index, (job, cell) in enumerate(zip(jobs, cells, strict=True)):
                slurm = known.get(job.job)
                if index in ended or (slurm is not None and slurm.is_alive):
                    continue
                outcome = _outcome(job, cell, slurm)
                waited = now - seen_to_end.setdefault(index, now)
                if _lacks_files(outcome, slurm) and waited < _FILES_LATE:
                    continue
                ended[index] = outcome
                _say(len(ended), len(jobs), names[index], outcome)
    except KeyboardInterrupt:
        ids = " ".join(dict.fromkeys(job.job.split("_")[0] for job in jobs))
        print(f"\nmamlbench: the jobs go on without this command; scancel {ids} ends them")
        raise
    return [ended[index] for index in range(len(jobs))]


def _require_patience(silent: float) -> None:
    if silent >= _PATIENCE:
        since = f"squeue has not answered for {silent / 60:.0f} minutes"
        raise UserError(f"hardware: {since}; the jobs go on without this command")


def _ended_well(slurm: queue.Job | None) -> bool:
    """Whether SLURM reports success, or no longer knows the job, minutes after its end."""
    return slurm is None or slurm.state == "COMPLETED"


def _lacks_files(outcome: object, slurm: queue.Job | None) -> bool:
    """Whether a job ended well but its run's files are not yet visible on this machine."""
    return isinstance(outcome, UserError) and _ended_well(slurm)


def _outcome(job: SubmittedCell, cell: Cell, slurm: queue.Job | None) -> float | UserError | None:
    ended_well = _ended_well(slurm)
    if ended_well and cell.folder is not None and cell.folder.summary.is_file():
        if not all(test.folder and test.folder.summary.is_file() for test in cell.other_tests()):
            # the job was submitted before these tests were asked for
            missed = f"job {job.job} did not run the tests of also_test"
            return UserError(f"{missed}; the same command does")
        mean = cell.folder.read_summary()["test"][cell.metric]["mean"]
        return None if mean is None else float(mean)
    if ended_well and cell.folder is None and job.returned:
        return None
    status = None if cell.folder is None else run_status.read(cell.folder.path)
    if ended_well and status is not None and status.state == run_status.PRUNED:
        return None
    state = "ended" if slurm is None else slurm.state
    reason = last_error(job.log) or "it printed nothing"
    return UserError(f"job {job.job} {state}: {reason}; its output is in {job.log}")


def _say(count: int, of: int, name: str, outcome: object) -> None:
    failed = isinstance(outcome, UserError)
    words = f"failed: {outcome}" if failed else "finished"
    print(f"{count} of {of}: {name}: {words}", file=sys.stderr)


def _names(cells: Sequence[Cell]) -> list[str]:
    """Each cell's overrides that are not common to all cells."""
    shared = set.intersection(*(set(cell.overrides) for cell in cells)) if len(cells) > 1 else set()
    return [" ".join(text for text in cell.overrides if text not in shared) for cell in cells]
