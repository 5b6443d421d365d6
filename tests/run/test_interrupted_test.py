"""An interrupted meta-test resumes and gives the same result as without the interruption."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
from torch import nn

from mamlbench.compose import experiment
from mamlbench.evaluation import Scores
from mamlbench.evaluation.calibration import Reliability
from mamlbench.hardware.distributed import Share
from mamlbench.run.kept_scores import KeptScores
from mamlbench.run.signals import Stopped, StopRequest

LINE = ["training.iterations=4", "training.validate_every=0", "hardware.task_chunk=2"]
"""A run with 8 test tasks of sinusoids, or 4 of glyphs, 2 at a time."""


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.mark.parametrize("dataset", ["sinusoid", "glyphs"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_it_goes_on_after_the_tasks_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, number: signal.Signals
) -> None:
    whole = experiment(runs.overrides(tmp_path / "a", "maml", dataset, *LINE))
    whole.run()
    tasks = whole.protocol.tasks

    line = runs.overrides(tmp_path / "b", "maml", dataset, *LINE)
    first = experiment(line)
    adapt, asked = first.learner.adapt, []

    def stopped_in_the_first_part(*arguments: object) -> object:
        if not first.learner.training:
            asked.append(1)
            signal.raise_signal(number)
        return adapt(*arguments)

    monkeypatch.setattr(first.learner, "adapt", stopped_in_the_first_part)
    with pytest.raises(Stopped, match=r"^stopped at iteration 4, after 2 test tasks$") as stopped:
        first.run()
    assert (stopped.value.signal, stopped.value.tested, len(asked)) == (number, 2, 1)
    assert not first.folder.summary.exists()

    second, parts = experiment(line), []
    sample = second.dataset.sample

    def seen(split: str, seed: int, start: int, count: int, *sizes: int) -> object:
        if split == "test":
            parts.append((start, count))
        return sample(split, seed, start, count, *sizes)

    monkeypatch.setattr(second.dataset, "sample", seen)
    second.run()
    check, *parts = parts  # of the dataset, before anything else
    assert check == (0, 2)
    assert parts == [(start, 2) for start in range(2, tasks, 2)]
    expected, found = runs.result(whole.folder.path), runs.result(second.folder.path)
    expected["summary"]["command"] = found["summary"]["command"]  # another outputs folder
    assert found == expected
    assert list(second.folder.path.glob("test_so_far*")) == []


@pytest.fixture
def scores() -> Scores:
    random = np.random.default_rng(0)
    bins = Reliability(random.random((2, 3, 15, 3)))
    return Scores({"loss": random.random((2, 3)), "accuracy": random.random((2, 3))}, (0, 5), bins)


def kept(tmp_path: Path, learner: nn.Module, protocol: str = "maml") -> KeptScores:
    return KeptScores(tmp_path / "kept.npz", (learner, protocol), StopRequest(), 7)


def test_scores_are_written_once_a_minute_and_come_back(tmp_path, scores, monkeypatch) -> None:
    learner, share = nn.Linear(2, 3), Share(10, 6, 16)
    keeper = kept(tmp_path, learner)
    keeper.keep([scores], share)
    assert keeper.read(share) == []
    monkeypatch.setattr("mamlbench.run.kept_scores._SECONDS", 0.0)
    keeper.keep([scores, scores], share)
    [found] = kept(tmp_path, learner).read(share)
    both = Scores.of_parts([scores, scores])
    assert (found.tasks, found.steps) == (6, (0, 5))
    for name, values in both.by_task.items():
        assert np.array_equal(found.by_task[name], values)
    assert np.array_equal(found.reliability.bins, both.reliability.bins)


def test_scores_of_anything_else_are_not_taken(tmp_path, scores, monkeypatch) -> None:
    monkeypatch.setattr("mamlbench.run.kept_scores._SECONDS", 0.0)
    learner, share = nn.Linear(2, 3), Share(10, 6, 16)
    kept(tmp_path, learner).keep([scores], share)
    assert len(kept(tmp_path, learner).read(share)) == 1
    assert kept(tmp_path, learner, "reptile").read(share) == []
    assert kept(tmp_path, learner).read(Share(10, 5, 15)) == []
    with torch.no_grad():
        learner.bias[0] += 1e-6
    assert kept(tmp_path, learner).read(share) == []


def test_a_damaged_file_begins_the_test_anew(tmp_path, scores, monkeypatch) -> None:
    monkeypatch.setattr("mamlbench.run.kept_scores._SECONDS", 0.0)
    learner, share, file = nn.Linear(2, 3), Share(10, 6, 16), tmp_path / "kept.npz"
    kept(tmp_path, learner).keep([scores], share)
    whole = file.read_bytes()
    for damaged in (b"PK torn", b"", whole[: len(whole) // 2], whole[:100] + b"?" + whole[101:]):
        file.write_bytes(damaged)
        assert kept(tmp_path, learner).read(share) == []
    with file.open("wb") as opened:
        np.savez(opened, about=np.array("[]"))
    assert kept(tmp_path, learner).read(share) == []


def test_restart_begins_anew_but_once_for_a_job_that_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM starts a requeued job with its original command line, including `restart=true`."""
    line = runs.overrides(tmp_path, "maml", "sinusoid", *LINE)
    experiment(line).run()
    steps = []

    def steps_of_a_restart() -> int:
        run, before = experiment([*line, "restart=true"]), len(steps)
        step = run.learner.meta_step
        monkeypatch.setattr(run.learner, "meta_step", lambda t: (steps.append(1), step(t))[1])
        run.run()
        return len(steps) - before

    assert steps_of_a_restart() == 4
    monkeypatch.setenv("SLURM_JOB_ID", "71")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert steps_of_a_restart() == 4  # requeued before the run began
    assert steps_of_a_restart() == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert steps_of_a_restart() == 4  # typed again in the same allocation
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "72")
    assert steps_of_a_restart() == 4
