"""Search spaces: conversion of Hydra's sweeps, and a runnable space for each algorithm."""

import re
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")

from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from mamlbench.compose import config, experiment  # noqa: E402
from mamlbench.config.tree import ConfigTree  # noqa: E402
from mamlbench.errors import UserError  # noqa: E402
from mamlbench.tuning.space import space_of  # noqa: E402

README = Path(__file__).parents[2] / "README.md"
SPACES = ConfigTree().choices("tune")
ALGORITHMS = [name for name in ConfigTree().choices("algorithm") if name in SPACES]


@pytest.mark.parametrize(
    ("sweep", "distribution"),
    [
        ("interval(0.1, 1)", FloatDistribution(0.1, 1.0)),
        ("tag(log, interval(1e-3, 1.0))", FloatDistribution(1e-3, 1.0, log=True)),
        ("int(interval(1, 8))", IntDistribution(1, 8)),
        ("tag(log, int(interval(1, 8)))", IntDistribution(1, 8, log=True)),
        ("interval(1, 8)", FloatDistribution(1.0, 8.0)),
        ("range(0, 1, 0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
        ("range(1, 6)", IntDistribution(1, 5)),
        ("range(2, 11, 4)", IntDistribution(2, 10, step=4)),
        ("tag(log, range(1, 9))", IntDistribution(1, 8, log=True)),
        ("choice(adam, sgd)", CategoricalDistribution(["adam", "sgd"])),
        ("0.1,0.2", CategoricalDistribution(["0.1", "0.2"])),
        ("[8],[8,8]", CategoricalDistribution(["[8]", "[8,8]"])),
    ],
)
def test_a_sweep_as_a_distribution(sweep, distribution):
    assert space_of([f"a.b={sweep}", "c=1"]) == ({"a.b": distribution}, ["c=1"])


def test_the_last_word_on_an_option_counts():
    sweep = "a=interval(0.0, 1.0)"
    assert space_of([sweep, "a=0.5"]) == ({}, ["a=0.5"])
    assert space_of([sweep, "a=choice(1, 2)"])[0] == {"a": CategoricalDistribution(["1", "2"])}


@pytest.mark.parametrize(
    "sweep",
    [
        *("interval(1.0, 0.1)", "tag(log, interval(0.0, 1.0))", "glob(*)"),
        *("range(1, 6, 0)", "tag(log, range(1, 9, 2))", "tag(log, range(0, 1, 0.25))"),
    ],
)
def test_a_sweep_that_cannot_be_searched(sweep):
    with pytest.raises(UserError, match=r"a\.b=.*: accepted is a\.b=interval"):
        space_of([f"a.b={sweep}"])


def test_every_algorithm_that_the_readme_names_has_a_space():
    rows = re.findall(r"^\| .* \| `(\w+)` \| ", README.read_text(), flags=re.MULTILINE)
    named = set(rows) & set(ConfigTree().choices("algorithm"))
    assert len(named) > 10
    assert named <= set(ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_has_a_space_whose_ends_can_be_run(algorithm, request):
    composed = config([f"tune={algorithm}", "hydra/sweeper=optuna"])
    assert composed.hydra.runtime.choices.algorithm == algorithm
    params = OmegaConf.to_container(composed.hydra.sweeper.params)
    space, fixed = space_of([f"{key}={value}" for key, value in params.items()])
    assert fixed == []
    outer = {"algorithm.outer_lr"} if algorithm != "multi_task" else set()  # it averages networks
    assert {"algorithm.inner_lr"} | outer <= space.keys()
    if algorithm == "learn2learn_maml":
        request.getfixturevalue("l2l")
    for end in (0, -1):
        ends = {
            key: d.choices[end] if hasattr(d, "choices") else (d.low, d.high)[end]
            for key, d in space.items()
        }
        chosen = [f"{key}={value}" for key, value in ends.items()]
        run = experiment([f"algorithm={algorithm}", "logger=csv", *chosen])
        for override in OverridesParser.create().parse_overrides(chosen):
            name = override.key_or_group.removeprefix("algorithm.")
            assert run.config["algorithm"][name] == override.value()
