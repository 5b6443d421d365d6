"""How the end of a SLURM job is reported."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("submitit", reason="the extra slurm is not installed")

from mamlbench.errors import UserError
from mamlbench.run.folder import RunFolder
from mamlbench.slurm import queue, waiting
from mamlbench.slurm.submitted import SubmittedCell
from mamlbench.slurm.waiting import wait_for
from mamlbench.sweeps.cells import Cell


class Clock:
    """Stands in for the module `time`; only `sleep` advances its clock."""

    def __init__(self):
        self.now, self.tasks = 0.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        for at, task in self.tasks:
            if self.now - seconds < at <= self.now:
                task()

    def at(self, seconds, task):
        self.tasks.append((seconds, task))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    return clock


@pytest.fixture
def squeue(monkeypatch):
    """`squeue(state)` sets the state of job 7; None: squeue does not answer."""

    def answers(state: str | None) -> None:
        known = None if state is None else {"7": queue.Job(state, "", "")}
        monkeypatch.setattr(queue, "jobs", lambda: known)

    return answers


@pytest.fixture
def job(tmp_path):
    """A job and its cell, whose run has written no files yet."""
    folder = RunFolder(tmp_path)
    cell = Cell(("seed=0",), "", folder, "mse", False, {})
    return SubmittedCell("7", ("seed=0",), tmp_path, tmp_path / "7_0_log.out"), cell


def finish(cell: Cell) -> None:
    cell.folder.summary.write_text('{"test": {"mse": {"mean": 0.5}}}')


@pytest.fixture
def outcome(tmp_path: Path):
    """`outcome(state)`: the outcome of a run without a summary, with this state in its status."""

    def of(state: str | None):
        job = SubmittedCell("7", ("seed=0",), tmp_path, tmp_path / "7_0_log.out")
        job.log.write_text("mamlbench: the last line\n")
        (tmp_path / "status.json").unlink(missing_ok=True)
        if state is not None:
            (tmp_path / "status.json").write_text(json.dumps({"state": state}))
        folder = SimpleNamespace(path=tmp_path, summary=tmp_path / "summary.json")
        return waiting._outcome(job, SimpleNamespace(folder=folder), queue.Job("COMPLETED", "", ""))

    return of


def test_a_run_that_a_search_pruned_has_not_failed(outcome) -> None:
    assert outcome("pruned") is None


@pytest.mark.parametrize("state", ["failed", "stopped", None])
def test_a_run_that_came_to_nothing_has(outcome, state) -> None:
    assert isinstance(outcome(state), UserError)
    assert "job 7 COMPLETED: the last line; its output is in" in str(outcome(state))


def test_a_squeue_that_fails_for_minutes_ends_nothing(clock, squeue, job):
    jobs, cells = [job[0]], [job[1]]
    squeue("RUNNING")
    clock.at(100, lambda: squeue(None))
    clock.at(600, lambda: squeue("RUNNING"))
    clock.at(700, lambda: squeue(None))
    clock.at(1200, lambda: (squeue("COMPLETED"), finish(cells[0])))
    assert wait_for(jobs, cells) == [0.5]


def test_one_that_does_for_long_does(clock, squeue, job):
    squeue("RUNNING")
    clock.at(100, lambda: squeue(None))
    says = "squeue has not answered for 10 minutes; the jobs go on without this command"
    with pytest.raises(UserError, match=says):
        wait_for([job[0]], [job[1]])
    assert 680 < clock.now < 720


def test_files_that_another_machine_wrote_may_come_late(clock, squeue, job):
    squeue("COMPLETED")
    clock.at(60, lambda: finish(job[1]))
    assert wait_for([job[0]], [job[1]]) == [0.5]


def test_files_that_do_not_come_are_missing(clock, squeue, job):
    squeue("COMPLETED")
    [outcome] = wait_for([job[0]], [job[1]])
    assert str(outcome).startswith("job 7 COMPLETED: ")
    assert 60 < clock.now < 120


def test_a_job_that_failed_is_not_waited_for(clock, squeue, job):
    squeue("FAILED")
    [outcome] = wait_for([job[0]], [job[1]])
    assert str(outcome).startswith("job 7 FAILED: ")
    assert clock.now < 5
