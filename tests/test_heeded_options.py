"""Seeds, validation, patience and the hash heed the options."""

from __future__ import annotations

import pandas as pd
import pytest
import runs
import torch
from omegaconf import OmegaConf

from mamlbench import training
from mamlbench.compose import config, experiment
from mamlbench.config.config_hash import config_hash
from mamlbench.run.signals import Stopped


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch):
    monkeypatch.setattr("mamlbench.experiment.draw_figures", lambda *arguments: None)


def test_first_parameters_and_tasks_are_those_of_the_seed(tmp_path, monkeypatch):
    """Each by itself: either one alone would make seeds differ."""
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
    assert rows["iteration"].tolist() == [2, 4, 5]  # also at the end
    assert asked == [("val", 4)] * 3  # evaluation.validation_tasks; a test has 8


def test_patience_counts_on_after_a_stop(tmp_path, monkeypatch):
    real, values = training.evaluate, iter([0.5, 0.25, 0.3, 0.4, 0.1])

    def scripted(*args, **options):
        scores = real(*args, **options)
        scores.by_task["mse"][:] = next(values)
        return scores

    monkeypatch.setattr(training, "evaluate", scripted)
    settings = ["training.iterations=100", "training.validate_every=5", "training.patience=2"]
    line = runs.overrides(tmp_path, "maml", "sinusoid", *settings)
    first = experiment(line)
    runs.stop_at(first, 17, monkeypatch)
    with pytest.raises(Stopped):
        first.run()
    assert experiment(line).run()["train"]["iterations"] == 20


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


WITHOUT_EFFECT = {
    *("seed", "name", "outputs", "restart", "on_nan", "experiment", "debug", "also_test"),
    *("budget", "warm_start", "training.log_every", "training.checkpoint_every"),
    *("evaluation.score_every", "dataset.threads", "dataset.workers"),
}
OF_HARDWARE = {"hardware.precision"}
"""What alone of `hardware` and `logger` makes another result."""


@pytest.mark.parametrize("typed", [[], ["dataset=omniglot"], ["dataset=half_cheetah_vel"]])
def test_every_option_makes_another_result_but_for_these(typed):
    default = config(["algorithm=reptile", *typed])
    OmegaConf.set_struct(default, False)
    del default["hydra"]
    for key in leaves(OmegaConf.to_container(default, resolve=False)):
        other = default.copy()
        OmegaConf.update(other, key, "other", merge=False, force_add=True)
        harmless = key in WITHOUT_EFFECT or (
            key.startswith(("hardware.", "logger")) and key not in OF_HARDWARE
        )
        assert (config_hash(other) == config_hash(default)) is harmless, key


def leaves(node, name=""):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{name}{key}.")
        else:
            yield f"{name}{key}"
