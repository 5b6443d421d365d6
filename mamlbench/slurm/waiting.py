"""Waiting for submitted runs: by their files, and by one question to SLURM for all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from mamlbench import run_state
from mamlbench.cells import Cell
from mamlbench.errors import UserError
from mamlbench.slurm import queue
from mamlbench.slurm.submitted import SubmittedCell, last_error

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 20.0


def wait_for(
    jobs: Sequence[SubmittedCell], cells: Sequence[Cell]
) -> list[float | UserError | None]:
    """Wait until each job has ended; gives the test metric of its run, or why there is none.

    Raises:
        UserError: SLURM does not answer any more.
    """
    names = _names(cells)
    ended: dict[int, float | UserError | None] = {}
    pause = _FIRST_PAUSE
    try:
        while len(ended) < len(jobs):
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
            known = _known()
            for index, (job, cell) in enumerate(zip(jobs, cells, strict=True)):
                slurm = known.get(job.job)
                if index not in ended and (slurm is None or not slurm.is_alive):
                    ended[index] = _outcome(job, cell, slurm)
                    _say(len(ended), len(jobs), names[index], ended[index])
    except KeyboardInterrupt:
        ids = " ".join(dict.fromkeys(job.job.split("_")[0] for job in jobs))
        print(f"\nmamlbench: the jobs go on without this command; scancel {ids} ends them")
        raise
    return [ended[index] for index in range(len(jobs))]


def _known() -> dict[str, queue.Job]:
    known = queue.jobs()
    if known is None:
        raise UserError("hardware: squeue does not answer; the jobs go on without this command")
    return known


def _outcome(job: SubmittedCell, cell: Cell, slurm: queue.Job | None) -> float | UserError | None:
    ended_well = slurm is None or slurm.state == "COMPLETED"
    if ended_well and cell.folder is not None and cell.folder.summary.is_file():
        if not all(test.folder and test.folder.summary.is_file() for test in cell.other_tests()):
            # it was submitted before they were asked for
            missed = f"job {job.job} did not do what also_test asks for"
            return UserError(f"{missed}; the same command does")
        mean = cell.folder.read_summary()["test"][cell.metric]["mean"]
        return None if mean is None else float(mean)
    if ended_well and cell.folder is None and job.returned:
        return None
    status = None if cell.folder is None else run_state.read(cell.folder.path)
    if ended_well and status is not None and status.state == run_state.PRUNED:
        return None
    state = "ended" if slurm is None else slurm.state
    reason = last_error(job.log) or "it printed nothing"
    return UserError(f"job {job.job} {state}: {reason}; its output is in {job.log}")


def _say(count: int, of: int, name: str, outcome: object) -> None:
    failed = isinstance(outcome, UserError)
    words = f"failed: {outcome}" if failed else "finished"
    print(f"{count} of {of}: {name}: {words}", file=sys.stderr)


def _names(cells: Sequence[Cell]) -> list[str]:
    """Of each cell the overrides that not all share."""
    shared = set.intersection(*(set(cell.overrides) for cell in cells)) if len(cells) > 1 else set()
    return [" ".join(text for text in cell.overrides if text not in shared) for cell in cells]
