"""Runs from Python as the command line has them: `experiment(["algorithm=reptile"]).run()`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from mamlbench.budget import within_budget
from mamlbench.experiment import Experiment
from mamlbench.overrides import other_test


def config(overrides: Sequence[str] = ()) -> DictConfig:
    """The config that `mamlbench <overrides>` would run, `hydra` node included.

    Raises:
        hydra.errors.HydraException: an override that does not fit the config tree.
    """
    GlobalHydra.instance().clear()
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def values(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The plain values of that config, as its budget leaves them.

    Raises:
        UserError, hydra.errors.HydraException: an override that does not fit the config tree.
    """
    return within_budget(_without_hydra(config(overrides)))[0]


def experiment(overrides: Sequence[str] = ()) -> Experiment:
    """The run that `mamlbench <overrides>` would do, built and checked.

    Raises:
        UserError: anything in the config that cannot work.
        hydra.errors.HydraException: an override that does not fit the config tree.
    """
    composed = config(overrides)
    return Experiment(_without_hydra(composed), *_names(composed), list(overrides))


def other_tests(trained: Experiment) -> Iterator[Experiment]:
    """The other tests that a finished run's `also_test` asks for, each built when it is its turn.

    Raises:
        UserError: anything in one of them that cannot work.
        hydra.errors.HydraException: an override that does not fit the config tree.
    """
    for test in trained.options.also_test:
        yield experiment(other_test(trained.overrides, test, str(trained.folder.path)))


def _names(composed: DictConfig) -> tuple[str, str]:
    choices = composed.hydra.runtime.choices
    return str(choices.algorithm), str(choices.dataset)


def _without_hydra(composed: DictConfig) -> DictConfig:
    copy = composed.copy()
    OmegaConf.set_struct(copy, False)
    del copy["hydra"]
    return copy
