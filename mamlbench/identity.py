"""Whether two configs ask for the same thing, apart from how long they take over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pkgutil import resolve_name
from typing import Any

from mamlbench.config import constructor_defaults, plain, without_effect

_LENGTH = {
    "training": ("iterations", "validate_every", "patience"),
    "algorithm": ("iterations", "epoch_length"),
    "evaluation": ("tasks", "validation_tasks"),
}
"""How long is trained and tested."""


def identity(config: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits of what a run computes, whatever its seed and its length.

    A run, the same with fewer outer steps or test tasks, and one that was written when the code
    had fewer options than now (which then stand at their defaults) have the same identity; which
    of them is of full length, the numbers in config and summary tell. A test of a checkpoint has
    another identity than the run that made it.

    Args:
        config: as composed, or the content of a run's `config.yaml`.
    """
    kept = without_effect(plain(config))
    kept.pop("about", None)
    for name in ("checkpoint", "warm_start"):
        kept[name] = config.get(name) is not None  # a path says where it lies, not what it is
    for group, node in kept.items():
        if isinstance(node, dict):
            kept[group] = {**_defaults(group, node), **node}
            for name in _LENGTH.get(group, ()):
                kept[group].pop(name, None)
    text = json.dumps(_numbers_alike(kept), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Options that change results and differ between two configs, by dotted key: both values."""
    one, two = (dict(_flat(without_effect(plain(c)))) for c in (config, other))
    keys = [key for key in {**one, **two} if not key.startswith("about.")]
    pairs = {key: (one.get(key), two.get(key)) for key in keys}
    return {k: (a, b) for k, (a, b) in pairs.items() if _numbers_alike(a) != _numbers_alike(b)}


def _defaults(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """What the constructor of a group's class takes for the options that are not there."""
    from mamlbench.evaluation import Protocol
    from mamlbench.hardware import Hardware
    from mamlbench.training import Training

    classes = {"evaluation": Protocol, "hardware": Hardware, "training": Training}
    cls = classes.get(group)
    if "_target_" in node:
        try:
            cls = resolve_name(str(node["_target_"]))
        except (ImportError, AttributeError, ValueError):
            return {}  # of a lab that is not here
    if not isinstance(cls, type):
        return {}
    return without_effect({group: constructor_defaults(cls)})[group]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _numbers_alike(value: Any) -> Any:
    """5 and 5.0, and lists and tuples, are the same in a config."""
    if isinstance(value, dict):
        return {key: _numbers_alike(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers_alike(entry) for entry in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
