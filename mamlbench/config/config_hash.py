"""A hash of what in a config changes the result of a run."""

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
        *("also_test", "budget"),  # the values that a budget makes count instead
        "warm_start",  # by its file's content instead
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
"""By group, what may differ between two runs that give the same result: where and how it runs, what
it prints."""


def _without_effect(config: Mapping[str, Any]) -> dict[str, Any]:
    """A plain config without the options that change no result."""
    kept = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT[""]}
    for group, names in WITHOUT_EFFECT.items():
        if isinstance(kept.get(group), dict):
            kept[group] = {k: v for k, v in kept[group].items() if k not in names}
    return kept


def config_hash(config: Mapping[str, Any], **more: str | None) -> str:
    """Eight hexadecimal digits of everything in a config that changes the result of a run."""
    text = json.dumps({**_without_effect(plain(config)), **more}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
