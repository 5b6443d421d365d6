"""MAML++'s experiments: each row of its table has only the change that it is named after."""

from __future__ import annotations

import pytest

from mamlbench.compose import experiment

SWITCHES = {
    "multi_step_epochs": (0, 10),
    "per_step_rates": (False, True),
    "per_step_affine": (False, True),
    "per_step_statistics": (False, True),
    "outer_schedule": ("constant", "cosine"),
    "first_order_epochs": (0, 50),
}


@pytest.mark.parametrize(
    ("row", "on"),
    [
        ("omniglot_20way", set(SWITCHES)),
        ("omniglot_20way_maml", set()),
        ("omniglot_20way_msl", {"multi_step_epochs"}),
        ("omniglot_20way_lslr", {"per_step_rates"}),
        ("omniglot_20way_bn", {"per_step_affine", "per_step_statistics"}),
        ("omniglot_20way_ca", {"outer_schedule"}),
        ("omniglot_20way_da", {"first_order_epochs"}),
    ],
)
def test_a_row_has_its_change_and_shares_the_rest(row, on):
    config = experiment([f"experiment=mamlpp/{row}", "logger=csv"]).config
    assert {name: config["algorithm"].pop(name) for name in SWITCHES} == {
        name: values[name in on] for name, values in SWITCHES.items()
    }
    assert config["network"].pop("affine") == (
        "scale_shift" if "per_step_affine" in on else "shift"
    )
    full = experiment(["experiment=mamlpp/omniglot_20way", "logger=csv"]).config
    for name in SWITCHES:
        del full["algorithm"][name]
    del full["network"]["affine"]
    assert config == full


def test_the_papers_omniglot():
    run = experiment(["algorithm=mamlpp", "dataset=omniglot", "logger=csv"])
    assert run.learner.network.head.weight.shape == (20, 64)  # 28, 14, 7, 3, 1
    # the inner loop adapts each convolution's and the head's weight and bias
    assert run.learner.rates.shape == (5, 10)
    assert [p.shape for p in run.learner.step_norms] == [(5, 64)] * 8
    assert run.training.iterations == 150 * run.learner.epoch_length
    assert run.protocol.shots_and_queries(run.dataset, "val") == (1, 1)
    assert (run.protocol.tasks, run.protocol.validation_tasks, run.protocol.kept) == (600, 600, 5)


def test_the_papers_mini_imagenet():
    run = experiment(["algorithm=mamlpp", "dataset=mini_imagenet", "logger=csv"])
    assert run.learner.network.head.weight.shape == (5, 48 * 5 * 5)
    assert run.training.iterations == 100 * run.learner.epoch_length
    assert run.protocol.shots_and_queries(run.dataset, "val") == (1, 15)
