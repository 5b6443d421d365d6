"""Long runs that are kept unfinished can continue with the present code."""

from __future__ import annotations

from pathlib import Path

import pytest
import runs

from mamlbench import checkpoint
from mamlbench.compose import experiment
from mamlbench.run.begin_from import load_learner

ROOT = Path(__file__).parent.parent
KEPT = sorted((ROOT / "outputs" / "unfinished").rglob("checkpoint.pt"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.relative_to(ROOT).parent))
def test_a_run_that_is_kept_unfinished_can_go_on(path: Path) -> None:
    state = checkpoint.load(path)
    runs.needing_simulator(path.parents[3].name)
    outputs = f"outputs={ROOT / 'outputs'}"
    run = experiment([*state["overrides"], "name=unfinished", outputs, "hardware=cpu"])
    assert run.folder.path == path.parent
    assert 0 < state["iteration"] <= run.training.iterations  # equal if it was being tested
    load_learner(run.learner, state, path)
    run.learner.optimizer.load_state_dict(state["optimizer"])
    run.learner.scheduler.load_state_dict(state["scheduler"])
