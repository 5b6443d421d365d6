"""Which options change the result, and so the hash."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mamlbench.compose import config
from mamlbench.config.config_hash import config_hash

WITHOUT_EFFECT = {
    *("seed", "name", "outputs", "restart", "on_nan", "also_test"),
    *("budget", "warm_start", "training.log_every", "training.checkpoint_every"),
    *("evaluation.score_every", "dataset.threads", "dataset.workers"),
}
OF_HARDWARE = {"hardware.precision"}
"""The only options of `hardware` and `logger` that change the result."""


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
