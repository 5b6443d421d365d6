"""How a job that SLURM has ended is told of."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("submitit", reason="mamlbench[slurm] is not installed")

from mamlbench.errors import UserError
from mamlbench.slurm import queue, waiting
from mamlbench.slurm.submitted import SubmittedCell


@pytest.fixture
def outcome(tmp_path: Path):
    """`outcome(state)`: of a run without a summary, whose `status.json` says this."""

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
