"""How budget=short and budget=smoke shorten a run."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig, OmegaConf

from mamlbench.compose import config, experiment
from mamlbench.config.budget import within_budget
from mamlbench.config.config_hash import config_hash
from mamlbench.errors import UserError


def composed(*overrides: str) -> DictConfig:
    """The composed config without the `hydra` node."""
    node = config(overrides)
    OmegaConf.set_struct(node, False)
    del node["hydra"]
    return node


def shortened(*overrides: str) -> tuple[dict, dict | None]:
    return within_budget(composed(*overrides))


def test_in_full_nothing_changes():
    values, said = shortened("experiment=maml/omniglot_20way1shot")
    assert said is None
    assert values["training"]["iterations"] == 60000
    without = {k: v for k, v in values.items() if k not in ("budget", "also_test")}
    assert config_hash(without) == config_hash({**without, "budget": "full", "also_test": ()})


def test_short_is_a_tenth_tested_in_full():
    values, said = shortened("experiment=maml/omniglot_20way1shot", "budget=short")
    assert said == {"budget": "short", "iterations": [60000, 6000]}
    training = values["training"]
    assert (training["iterations"], training["validate_every"]) == (6000, 1000)
    assert values["algorithm"]["iterations"] == 6000  # the schedule's length
    assert values["evaluation"]["tasks"] == 600


def test_smoke_is_a_few_steps_and_tasks():
    values, said = shortened("experiment=mamlpp/omniglot_20way", "budget=smoke")
    assert said == {
        "budget": "smoke",
        "iterations": [75000, 15],
        "tasks": [600, 20],
        "validation_tasks": [600, 20],
    }
    training, algorithm = values["training"], values["algorithm"]
    assert (training["validate_every"], training["log_every"]) == (15, 3)
    # in full, 150 epochs of 500 steps; an epoch keeps at least one step
    assert (algorithm["epoch_length"], algorithm["iterations"]) == (1, 15)


@pytest.mark.parametrize(("iterations", "left"), [(3, 3), (100, 5), (100_000, 20)])
def test_steps_that_are_left(iterations, left):
    values, _ = shortened(f"training.iterations={iterations}", "budget=smoke")
    assert values["training"]["iterations"] == left


def test_values_that_are_resolved_already():
    resolved, _ = shortened("algorithm=reptile", "dataset=omniglot")
    values, said = within_budget({**resolved, "budget": "short"})
    assert said == {"budget": "short", "iterations": [100_000, 10_000]}
    assert values["algorithm"]["iterations"] == 10_000


@pytest.mark.usefixtures("no_figures")
def test_a_shortened_run_is_another_run_and_says_so(tmp_path):
    tiny = ["network.hidden=[8]", "logger=csv", f"outputs={tmp_path}", "training.iterations=50"]
    full, smoke = experiment(tiny), experiment([*tiny, "budget=smoke"])
    assert full.name.hash != smoke.name.hash
    summary = smoke.run()
    assert summary["shortened"]["iterations"] == [50, 5]
    assert summary["train"]["iterations"] == summary["trained_iterations"] == 5
    assert summary["test"]["mse"]["n_tasks"] == 20
    assert smoke.config["budget"] == "smoke"


def test_an_unknown_budget():
    with pytest.raises(UserError, match=r"budget=smok: .* \(did you mean 'smoke'\?\)"):
        experiment(["budget=smok"])


def test_a_study_has_no_length():
    _, said = shortened("experiment=reptile/taylor", "budget=smoke")
    assert said is None
