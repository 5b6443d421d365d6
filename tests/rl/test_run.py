"""Runs on navigation2d, end to end."""

from __future__ import annotations

import os
import signal

import numpy as np
import pandas as pd
import pytest
import runs
from matplotlib.figure import Figure

from mamlbench import checkpoint
from mamlbench.algorithms import MAML
from mamlbench.compose import experiment
from mamlbench.errors import UserError
from mamlbench.figures.trajectories import trajectories
from mamlbench.run.signals import Stopped
from mamlbench.training import Trainer

TINY = [
    "dataset=navigation2d",
    "dataset.horizon=8",
    "dataset.train_shots=3",
    "dataset.queries=2",
    "network.hidden=[8]",
    "training.meta_batch_size=3",
    "training.iterations=4",
    "training.validate_every=2",
    "training.checkpoint_every=3",
    "evaluation.tasks=5",
    "evaluation.shots=3",
    "evaluation.queries=4",
    "evaluation.validation_tasks=2",
    "logger=csv",
    "hardware.threads=1",
]


def overrides(folder, algorithm, *more):
    return [f"outputs={folder}", f"algorithm={algorithm}", *TINY, *more]


@pytest.mark.parametrize("algorithm", ["maml", "reptile", "bmaml"])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, monkeypatch, algorithm):
    undisturbed = experiment(overrides(tmp_path / "a", algorithm))
    undisturbed.run()

    row = Trainer._row

    def interrupted(trainer):
        if trainer.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return row(trainer)

    monkeypatch.setattr(Trainer, "_row", interrupted)
    with pytest.raises(Stopped):
        experiment(overrides(tmp_path / "b", algorithm)).run()
    monkeypatch.setattr(Trainer, "_row", row)
    resumed = experiment(overrides(tmp_path / "b", algorithm))
    resumed.run()

    expected, found = runs.result(undisturbed.folder.path), runs.result(resumed.folder.path)
    expected["summary"]["command"] = found["summary"]["command"]  # names another outputs folder
    assert found == expected


def test_what_a_run_leaves(tmp_path):
    run = experiment(overrides(tmp_path, "maml", "evaluation.inner_steps=3"))
    summary = run.run()
    assert run.folder.path.parts[-4:-2] == ("navigation2d", "3episodes")
    tests = pd.read_csv(run.folder.path / "test_tasks.csv")
    assert tests.columns.tolist() == ["task", "step", "loss", "return"]
    assert len(tests) == 5 * 4
    assert (tests["return"] == -tests["loss"]).all()
    by_step = summary["test"]["by_step"]
    means = tests.groupby("step")["return"].mean()
    assert [entry["return"]["mean"] for entry in by_step] == pytest.approx(means.tolist())
    assert summary["test"]["return"] == by_step[-1]["return"]
    assert summary["evaluation"].startswith(
        "rl: 5 tasks, 3 episodes for each inner step, 4 for each score"
    )
    figures = {path.name for path in run.folder.figures.iterdir()}
    assert figures == {"learning_curve.png", "return_by_step.png", "trajectories.png"}


def test_the_best_checkpoint_in_training(tmp_path):
    run = experiment(overrides(tmp_path, "joint", "evaluation.select=best_training"))
    summary = run.run()
    rows = pd.read_csv(run.folder.path / "metrics.csv").set_index("iteration")["train/return"]
    assert summary["checkpoint"] == "best.pt"
    assert summary["validation"] is None
    assert summary["best_training"]["iteration"] == rows.idxmax()
    assert summary["best_training"]["value"] == pytest.approx(rows.max())
    assert "best checkpoint in training" in summary["evaluation"]


def test_an_oracle_sees_the_goal_and_a_result_says_so(tmp_path):
    run = experiment(
        [*overrides(tmp_path, "joint"), "experiment=oracle/navigation2d", "training.iterations=1"]
    )
    summary = run.run()
    assert run.dataset.input_shape == (4,)
    assert len(summary["test"]["by_step"]) == 1
    assert summary["simulator"] == {
        "environment": "PointEnvironments, goal observed",
        "reward": "-distance",
    }


def test_what_was_learned_before_a_worker_died_is_kept(tmp_path, monkeypatch):
    """Also between checkpoints; the same command then ends as if nothing had happened."""
    undisturbed = experiment(overrides(tmp_path / "a", "maml"))
    undisturbed.run()
    step = MAML.meta_step

    def dies(learner, tasks):
        if learner.scheduler.last_epoch == 2:
            raise UserError("environment worker 0 of 1 died")
        return step(learner, tasks)

    monkeypatch.setattr(MAML, "meta_step", dies)
    run = experiment(overrides(tmp_path / "b", "maml"))
    with pytest.raises(UserError, match="worker 0 of 1 died"):
        run.run()
    state = checkpoint.load(run.folder.path / "checkpoint.pt")
    assert state["iteration"] == 2  # although checkpoint_every is 3
    monkeypatch.setattr(MAML, "meta_step", step)
    again = experiment(overrides(tmp_path / "b", "maml"))
    again.run()
    expected, found = (runs.result(r.folder.path) for r in (undisturbed, again))
    expected["summary"]["command"] = found["summary"]["command"]
    assert found == expected


def test_the_protocol_is_the_one_that_was_asked_for(tmp_path):
    asked = experiment([*overrides(tmp_path, "maml"), "evaluation=standard"])
    usual = experiment(overrides(tmp_path, "maml"))
    assert (asked.protocol.name, usual.protocol.name) == ("standard", "rl")


@pytest.mark.parametrize(("algorithm", "least"), [("maml", -5.0), ("fomaml", -6.2)])
def test_a_policy_learns_to_adapt(tmp_path, algorithm, least):
    """The return after one inner step; without meta-training it is -7.1."""
    summary = experiment(
        [
            *overrides(tmp_path, algorithm),
            "dataset.horizon=20",
            "dataset.train_shots=20",
            "dataset.queries=20",
            "network.hidden=[32]",
            "training.meta_batch_size=10",
            "training.iterations=15",
            "training.validate_every=0",
            "evaluation.select=last",
            "evaluation.tasks=20",
            "evaluation.shots=20",
            "evaluation.inner_steps=1",
        ]
    ).run()
    before, after = (entry["return"]["mean"] for entry in summary["test"]["by_step"])
    assert before < after
    assert after > least


def test_trajectories_are_drawn_from_the_start_to_the_end(tmp_path, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (drawn.append(f), save(f, *a, **k)))
    goals = np.array([[0.3, 0.4], [-0.2, 0.1]])
    paths = {step: [list(np.full((3, 5, 2), float(step)))] * 2 for step in (0, 1, 4)}
    paths[4] = [[path[:3] if i == 1 else path for i, path in enumerate(paths[4][0])]] * 2
    trajectories(goals, paths, tmp_path / "t.png")
    panels = np.array(drawn[0].axes).reshape(3, 2)
    assert [row[0].get_ylabel() for row in panels] == [
        "after 0 steps",
        "after 1 step",
        "after 4 steps",
    ]
    for row, step in zip(panels, (0, 1, 4), strict=True):
        for axes, goal in zip(row, goals, strict=True):
            *episodes, start, mark = (line.get_xydata() for line in axes.lines)
            assert len(episodes) == 3
            assert start.tolist() == [[0.0, 0.0]]
            assert mark.tolist() == [goal.tolist()]
            assert np.concatenate(episodes).max() == step
    assert len(panels[2, 0].lines[1].get_xydata()) == 3
