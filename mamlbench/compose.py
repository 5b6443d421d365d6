"""Runs from Python as the command line has them: `experiment(["algorithm=reptile"]).run()`."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from mamlbench.experiment import Experiment


def config(overrides: Sequence[str] = ()) -> DictConfig:
    """The config that `mamlbench <overrides>` would run, `hydra` node included.

    Raises:
        hydra.errors.HydraException: an override that does not fit the config tree.
    """
    GlobalHydra.instance().clear()
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def experiment(overrides: Sequence[str] = ()) -> Experiment:
    """The run that `mamlbench <overrides>` would do, built and checked.

    Raises:
        UserError: anything in the config that cannot work.
        hydra.errors.HydraException: an override that does not fit the config tree.
    """
    composed = config(overrides)
    choices = composed.hydra.runtime.choices
    names = str(choices.algorithm), str(choices.dataset)
    OmegaConf.set_struct(composed, False)
    del composed["hydra"]
    return Experiment(composed, *names, list(overrides))
