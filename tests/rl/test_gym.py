"""A user's gymnasium environment, from the command line's options to a result."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gymnasium", reason="needs the rl extra: gymnasium")

from mamlbench.compose import experiment
from mamlbench.errors import UserError


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """The command line of a run of a few steps on `tiny_env.Line`."""
    monkeypatch.syspath_prepend(Path(__file__).parent / "environments")
    return [
        *(f"outputs={tmp_path}", "algorithm=maml", "dataset=gym", "logger=csv"),
        *("dataset.environment=tiny_env.Line", "dataset.goal_high=[4.0]", "dataset.workers=0"),
        *("dataset.horizon=6", "dataset.shots=3", "dataset.queries=3", "network.hidden=[8]"),
        *("training.iterations=2", "training.meta_batch_size=2", "hardware.threads=1"),
        *("evaluation.tasks=3", "evaluation.shots=3", "evaluation.queries=3"),
    ]


def test_a_run(typed):
    run = experiment(typed)
    summary = run.run()
    assert run.config["evaluation"]["name"] == "rl"  # not the protocol for images
    assert len(summary["test"]["by_step"]) == 4
    assert summary["test"]["return"]["n_tasks"] == 3
    assert summary["simulator"]["environment"] == "tiny_env.Line"


def test_an_environment_has_to_be_named():
    with pytest.raises(UserError, match=r"dataset\.environment=null: accepted is package\.module"):
        experiment(["dataset=gym", "logger=csv"])
