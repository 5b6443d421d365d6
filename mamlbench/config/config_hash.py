"""A hash of the config values that affect a run's result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mamlbench.config.build import plain
from mamlbench.slurm.options import NAMES as SUBMISSION_OPTIONS

WITHOUT_EFFECT = {
    "": {
        *("seed", "name", "outputs", "restart", "on_nan", "logger"),
        *("also_test", "budget"),  # the values that a budget changes count instead
        "warm_start",  # its file's content counts instead
    },
    "training": {"log_every", "checkpoint_every"},
    "dataset": {"threads", "workers"},
    "evaluation": {"score_every"},
    "hardware": {
        *("device", "threads", "processes", "task_chunk", "checkpoint_inner_steps"),
        *("compile", "replay"),
        *SUBMISSION_OPTIONS,
    },
}
"""Options without effect on the result, by group: where and how a run computes, what it prints."""


def _without_effect(config: Mapping[str, Any]) -> dict[str, Any]:
    """A plain config without the options in `WITHOUT_EFFECT`."""
    kept = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT[""]}
    for group, names in WITHOUT_EFFECT.items():
        if isinstance(kept.get(group), dict):
            kept[group] = {k: v for k, v in kept[group].items() if k not in names}
    return kept


def config_hash(config: Mapping[str, Any], **more: str | None) -> str:
    """Hash all config values that affect the result, and `more`, to eight hexadecimal digits."""
    text = json.dumps({**_without_effect(plain(config)), **more}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
