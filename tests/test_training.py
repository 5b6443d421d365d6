"""The outer loop follows its options: seed, validation, patience."""

from __future__ import annotations

import pandas as pd
import pytest
import runs
import torch

from mamlbench import training
from mamlbench.compose import experiment
from mamlbench.datasets import Sinusoid
from mamlbench.errors import UserError
from mamlbench.run.signals import Stopped

pytestmark = pytest.mark.usefixtures("no_figures")


def test_first_parameters_and_tasks_are_those_of_the_seed(tmp_path, monkeypatch):
    """Checked separately, because either one alone would make the seeds' results differ."""
    first = []
    for seed in (0, 1):
        settings = ["training.iterations=2", "training.validate_every=0", f"seed={seed}"]
        run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *settings))
        first.append(run.learner.network.head.weight.detach().clone())
        step, seen = run.learner.meta_step, []
        watched = lambda tasks, step=step, seen=seen: (seen.append(tasks), step(tasks))[1]  # noqa: E731
        monkeypatch.setattr(run.learner, "meta_step", watched)
        run.run()
        for number, tasks in enumerate(seen):
            expected = run.dataset.sample("train", seed, 3 * number, 3)  # no task twice
            assert torch.equal(tasks.support.x, expected.support.x)
            assert torch.equal(tasks.query.y, expected.query.y)
    assert not torch.equal(*first)


def test_when_and_on_what_a_run_is_validated(tmp_path, monkeypatch):
    real, asked = training.evaluate, []

    def watched(*args, **options):
        scores = real(*args, **options)
        asked.append((args[2], scores.tasks))
        return scores

    monkeypatch.setattr(training, "evaluate", watched)
    settings = ["training.iterations=5", "training.validate_every=2"]
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *settings))
    run.run()
    rows = pd.read_csv(run.folder.path / "metrics.csv").dropna(subset=["val/mse"])
    assert rows["iteration"].tolist() == [2, 4, 5]  # the last one at the end
    assert asked == [("val", 4)] * 3  # evaluation.validation_tasks; a test has 8


def test_patience_takes_validation_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(Sinusoid, "splits", ("train", "test"))
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", "training.patience=2"))
    with pytest.raises(UserError, match=r"^training\.patience=2: accepted is null: this dataset"):
        run.run()


@pytest.mark.parametrize("stopped", [False, True])
def test_patience_ends_a_training_and_counts_on_after_a_stop(tmp_path, monkeypatch, stopped):
    runs.script_validation(monkeypatch, [0.5, 0.25, 0.3, 0.4, 0.1])
    settings = ["training.iterations=100", "training.validate_every=5", "training.patience=2"]
    line = runs.overrides(tmp_path, "maml", "sinusoid", *settings)
    if stopped:
        first = experiment(line)
        runs.stop_at(first, 17, monkeypatch)
        with pytest.raises(Stopped):
            first.run()
    assert experiment(line).run()["train"]["iterations"] == 20


def test_steps_refused_before_patience_ends_a_training_count(tmp_path, monkeypatch):
    """On a GPU, refused steps are known only when a row or a checkpoint asks for them."""
    runs.script_validation(monkeypatch, [0.5, 0.6])
    settings = ["training.validate_every=2", "training.patience=1", "training.log_every=50"]
    run = experiment(runs.overrides(tmp_path, "maml", "sinusoid", *settings))
    monkeypatch.setattr(run.learner.finite, "count_refused", lambda: 2)
    with pytest.raises(UserError, match=r"^iteration 4: 2 of the steps since the last row "):
        run.run()


def test_time_and_random_numbers_go_on_after_a_stop(tmp_path, monkeypatch):
    line = runs.overrides(tmp_path, "maml", "sinusoid", "training.iterations=4")
    first = experiment(line)
    runs.stop_at(first, 2, monkeypatch)
    with pytest.raises(Stopped):
        first.run()
    file = first.folder.path / "checkpoint.pt"
    state = torch.load(file, weights_only=True)
    state["seconds"] = 1000.0
    torch.save(state, file)
    second, seen = experiment(line), []
    step = second.learner.meta_step

    def watched(tasks):
        seen.append(torch.get_rng_state())
        return step(tasks)

    monkeypatch.setattr(second.learner, "meta_step", watched)
    torch.manual_seed(99)
    assert 1000.0 < second.run()["train"]["seconds"] < 1100.0
    assert torch.equal(seen[0], state["generator"])
