"""Runs that test the mean outputs of their K best validated checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import runs
import torch

from mamlbench import checkpoint
from mamlbench.compose import experiment
from mamlbench.errors import UserError
from mamlbench.evaluation import Ensemble
from mamlbench.run.begin_from import load_learner
from mamlbench.run.signals import Stopped
from mamlbench.training import Trainer

SETTINGS = [
    "training.iterations=25",
    "training.log_every=5",
    "training.validate_every=5",
    "training.checkpoint_every=10",
    "evaluation.select=top2",
]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("best*.pt"))


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([0.5, 0.2, 2.0, 0.3, 0.9], [10, 20]),
        ([0.5, 0.2, 0.2, 0.2, 0.9], [10, 15]),  # the earlier of equal values
        ([math.nan, 3.0, 2.0, math.nan, 9.0], [15, 10]),
    ],
)
def test_the_best_are_kept_and_tested_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[float], kept: list[int]
) -> None:
    runs.script_validation(monkeypatch, values)
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS))
    summary = run.run()
    assert summary["checkpoint"] == [f"best_{iteration}.pt" for iteration in kept]
    assert names(run.folder.path) == sorted(["best.pt", *summary["checkpoint"]])
    assert "mean outputs of the 2 best checkpoints" in summary["evaluation"]
    assert isinstance(run.learner, Ensemble)

    best = torch.load(run.folder.path / "best.pt", weights_only=True)
    assert best["iteration"] == kept[0]
    for member, name in zip(run.learner.members, summary["checkpoint"], strict=True):
        state = torch.load(run.folder.path / name, weights_only=True)["learner"]
        own = member.state_dict()
        assert all(torch.equal(value, own[key]) for key, value in state.items())

    learner = experiment(run.overrides).learner
    run.dataset.load(torch.device("cpu"))
    tasks = run.dataset.sample("test", 0, 0, 8, 10, 5)
    with torch.no_grad():
        outputs = torch.zeros(8, 5, 1)
        for name in summary["checkpoint"]:
            path = run.folder.path / name
            load_learner(learner, checkpoint.load(path), path)
            adapted = learner.adapt(tasks.support, 2)
            outputs += learner.predict(adapted, tasks.query.x)[:, 0] / 2
    mse = (outputs - tasks.query.y).square().mean((1, 2))
    tests = pd.read_csv(run.folder.path / "test_tasks.csv").query("step == 2")
    assert tests["mse"].tolist() == pytest.approx(mse.tolist(), rel=1e-4)


def test_fewer_validations_than_are_asked_for(tmp_path: Path) -> None:
    settings = [*SETTINGS, "evaluation.select=top9", "training.iterations=10"]
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *settings))
    summary = run.run()
    assert set(summary["checkpoint"]) == {"best_5.pt", "best_10.pt"}
    assert "mean outputs of the 2 best checkpoints" in summary["evaluation"]


@pytest.mark.parametrize("select", ["best", "top2"])
def test_a_validation_that_is_not_finite_is_no_best(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    select: str,
) -> None:
    runs.script_validation(monkeypatch, [math.nan, 4.0, 3.0, *7 * [math.nan]])
    line = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS, f"evaluation.select={select}")
    summary = experiment(line).run()
    assert summary["validation"] == {"value": 3.0, "iteration": 15}
    said = "no meta-validation was finite, so the last learner is tested"
    assert said not in caplog.text

    run = experiment([*line, "restart=true"])
    summary = run.run()
    assert names(run.folder.path) == []
    assert summary["validation"] is None
    assert summary["checkpoint"] is None
    assert "last checkpoint" in summary["evaluation"]
    assert caplog.text.count(said) == 1


def test_surpassed_checkpoints_stay_until_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill between validation and save, the resumed run still needs these files."""
    runs.script_validation(monkeypatch, [0.5, 0.4, 0.3, 0.2, 0.1])
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS))
    seen, save = {}, Trainer.save

    def watched(trainer: Trainer) -> None:
        before = names(run.folder.path)
        save(trainer)
        seen[trainer.iteration] = before, names(run.folder.path)

    monkeypatch.setattr(Trainer, "save", watched)
    run.run()
    assert seen[10] == (["best.pt", "best_10.pt", "best_5.pt"],) * 2
    assert seen[20][0] == ["best.pt", "best_10.pt", "best_15.pt", "best_20.pt", "best_5.pt"]
    assert seen[20][1] == ["best.pt", "best_15.pt", "best_20.pt"]


@pytest.mark.parametrize("algorithm", ["maml", "mamlpp"])
def test_stop_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str) -> None:
    settings = SETTINGS
    if algorithm == "mamlpp":  # all annealed values change before the run is stopped
        epochs = ["epoch_length=8", "multi_step_epochs=2", "first_order_epochs=1"]
        settings = [*SETTINGS, *(f"algorithm.{option}" for option in epochs)]
    whole = experiment(runs.overrides(tmp_path / "a", algorithm, "sinusoid", *settings))
    whole.run()
    arguments = runs.overrides(tmp_path / "b", algorithm, "sinusoid", *settings)
    for stop_after in (8, 9):
        part = experiment(arguments)
        runs.stop_at(part, stop_after, monkeypatch)
        with pytest.raises(Stopped):
            part.run()
    last = experiment(arguments)
    last.run()
    expected, found = runs.result(whole.folder.path), runs.result(last.folder.path)
    expected["summary"]["command"] = found["summary"]["command"]
    assert found == expected
    assert names(last.folder.path) == names(whole.folder.path)


def test_a_folder_is_tested_by_its_best(tmp_path: Path) -> None:
    run = experiment(runs.overrides(tmp_path, "mamlpp", "sinusoid", *SETTINGS))
    trained = run.run()
    arguments = [*run.overrides, f"checkpoint={run.folder.path}"]
    again = experiment(arguments)
    assert again.folder.path != run.folder.path
    summary = again.run()
    assert summary["test"] == trained["test"]
    assert summary["checkpoint"] == [str(run.folder.path / name) for name in trained["checkpoint"]]

    one = experiment([*arguments, "evaluation.select=best"]).run()
    assert one["checkpoint"] == str(run.folder.path / "best.pt")
    assert one["test"] != trained["test"]
    named = run.folder.path / trained["checkpoint"][0]
    file = experiment([*run.overrides, f"checkpoint={named}"]).run()
    assert file["checkpoint"] == str(named)
    assert file["test"] == one["test"]

    for path in run.folder.path.glob("best_*.pt"):
        path.unlink()
    with pytest.raises(UserError, match=r"a folder without best_.* evaluation\.select=top2"):
        experiment(arguments)


def test_a_best_that_no_checkpoint_knows_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A resumed run may find another best learner: the summary must be about the tested one."""
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS, "evaluation.select=best")
    runs.script_validation(monkeypatch, [0.5, 0.4, 0.3])
    killed = experiment(arguments)
    step, done = killed.learner.meta_step, []

    def killing(tasks: object) -> object:
        done.append(tasks)
        if len(done) == 17:
            raise KeyboardInterrupt
        return step(tasks)

    monkeypatch.setattr(killed.learner, "meta_step", killing)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert checkpoint.load(killed.folder.path / "best.pt")["iteration"] == 15
    assert checkpoint.load(killed.folder.path / "checkpoint.pt")["iteration"] == 10

    monkeypatch.undo()
    runs.script_validation(monkeypatch, [0.45, 0.6, 0.7])
    again = experiment(arguments)
    summary = again.run()
    assert "best.pt: lacks iteration 10; the search for the best starts over" in caplog.text
    assert summary["validation"] == {"value": 0.45, "iteration": 15}
    best = checkpoint.load(again.folder.path / "best.pt")
    assert (best["iteration"], best["score"]) == (15, -0.45)


def test_a_best_that_is_gone_after_the_training(tmp_path: Path) -> None:
    """Training is over, so nothing is validated again, and the last learner is not the best."""
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS, "evaluation.select=best")
    run = experiment(arguments)
    run.run()
    run.folder.summary.unlink()
    (run.folder.path / "best.pt").unlink()
    gone = r"best\.pt: the best learner, from iteration \d+, is lost; restart=true"
    with pytest.raises(UserError, match=gone):
        experiment(arguments).run()
    assert not run.folder.summary.exists()


def test_restart_begins_anew(tmp_path: Path) -> None:
    arguments = runs.overrides(tmp_path, "maml", "sinusoid", *SETTINGS)
    run = experiment(arguments)
    expected = run.run()
    (run.folder.path / "best_7.pt").write_bytes(b"of another time")
    again = experiment([*arguments, "restart=true"])
    summary = again.run()
    assert summary["test"] == expected["test"]
    assert "best_7.pt" not in names(run.folder.path)
    assert json.loads(run.folder.summary.read_text())["checkpoint"] == expected["checkpoint"]
