"""The message when an algorithm and dataset have no preset for rates and lengths."""

from pathlib import Path

import pytest
from runs import RUN

pytestmark = pytest.mark.usefixtures("no_figures")

SIZE = [
    *[option for option in RUN if not option.startswith("dataset=")],
    "network=mlp",
    'also_test=[["evaluation.queries=3"]]',
]


def test_a_sweep_tells_which_of_its_runs_have_no_preset(mamlbench):
    swept = mamlbench("-m", "algorithm=reptile,maml", "dataset=circles2d", *SIZE)
    assert swept.code == 0
    words = [line for line in swept.err.splitlines() if "no preset" in line]
    assert len(words) == 1
    assert words[0].startswith("mamlbench: there is no preset reptile_circles2d,")


def test_a_preset_that_is_taken_away_is_not_missed(mamlbench):
    result = mamlbench("~preset", "dataset=circles2d", *SIZE)
    assert result.code == 0
    assert "no preset" not in result.err


def test_a_preset_of_ones_own_counts_and_so_does_an_experiment(mamlbench):
    for group, name in (("preset", "reptile_circles2d"), ("experiment", "mine")):
        path = Path("mine", group, f"{name}.yaml")
        path.parent.mkdir(parents=True)
        path.write_text("# @package _global_\nalgorithm:\n  inner_steps: 2\n")
    run = ["--config-dir=mine", "dataset=circles2d", *SIZE]
    own = mamlbench(*run, "algorithm=reptile")
    experiment = mamlbench(*run, "algorithm=anil", "experiment=mine", "name=other")
    assert (own.code, experiment.code) == (0, 0)
    assert "no preset" not in own.err + experiment.err
    assert "no preset anil_circles2d" in mamlbench(*run, "algorithm=anil").err
