"""Each experiment composes and builds; tables change only options that it has."""

from __future__ import annotations

import functools

import pytest
import runs

from mamlbench.compose import config, experiment
from mamlbench.config.build import build
from mamlbench.config.overrides import over
from mamlbench.config.tree import ConfigTree, without_hydra
from mamlbench.experiment import Experiment
from mamlbench.tables import TableRun, load_table

TREE = ConfigTree()
RUNS = [run for name in TREE.choices("table") for run in load_table(name).runs()]
GROUPS = tuple(f"{group}=" for group in TREE.groups())


@functools.cache
def built(name: str) -> Experiment:
    runs.needing_simulator(name)
    return experiment([f"experiment={name}", "logger=csv"])


def has_group(run: TableRun) -> bool:
    return any(override.startswith(GROUPS) for override in (*run.overrides, *run.evaluate))


@pytest.mark.parametrize("name", TREE.choices("experiment"))
def test_composes_and_builds(name):
    if name == "reptile/taylor":
        build(without_hydra(config([f"experiment={name}"]))["analysis"], "analysis")
        return
    run = built(name)
    assert run.shortened is None
    assert (run.training.iterations >= 100) != name.startswith("random/")


@pytest.mark.parametrize("name", sorted({run.experiment for run in RUNS}))
def test_options_that_tables_change(name):
    config = built(name).config
    runs = [run for run in RUNS if run.experiment == name and not has_group(run)]
    for override in {o for run in runs for o in (*run.overrides, *run.evaluate)}:
        key, _, value = override.partition("=")
        group, option = key.split(".")
        assert option in config[group]
        assert str(config[group][option]).lower() != value, f"{name}: {override} changes nothing"


@pytest.mark.parametrize("run", dict.fromkeys(filter(has_group, RUNS)), ids=str)
def test_groups_that_tables_change(run):
    arguments = over([*run.arguments(0), "logger=csv"], run.evaluate)
    config = experiment(arguments).config
    assert config != built(run.experiment).config
