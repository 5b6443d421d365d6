"""The overrides of the run that made a checkpoint, with which a test of it is composed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from mamlbench.config.overrides import key_and_value, quoted, sweep_of
from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError

# Where and how that run computed, and where it was kept, is not what it learned.
_NOT_KEPT = (
    "checkpoint",
    "also_test",
    "warm_start",
    "restart",
    "outputs",
    "name",
    "hardware",
    "logger",
    "hydra",
)


def with_overrides_of_checkpoint(arguments: Sequence[str]) -> list[str]:
    """The arguments; with `checkpoint=` among them, after the overrides of the run that made it.

    So the learner is composed as it was, and what is typed now has the last word: a group that is
    typed comes without what that run changed in it. Where another dataset is typed, whose presets
    are others, the algorithm's and the network's values are written out.

    Raises:
        UserError: several, nothing there, no checkpoint, or overrides in it that name a class: a
            file from elsewhere must not say what is imported, only the user may.
    """
    typed = dict(key_and_value(argument) for argument in arguments if "=" in argument)
    place = typed.get("checkpoint", "").strip("'\"")
    if place in ("", "null"):
        return list(arguments)
    from mamlbench import checkpoint  # imports torch: seconds

    _require_one(typed["checkpoint"])
    path = checkpoint.resolve(Path(place))
    made_by = checkpoint.load(path).get("overrides", [])
    then, kept = [], []
    for override in map(str, made_by):
        key, value = _parsed(override, path)
        group = re.split(r"[./]", key)[0]
        if group in _NOT_KEPT:
            continue
        if _needs_trust(override, key, value) and key not in typed:
            raise UserError(
                f"checkpoint={path}: was made with {override}; only what is typed can name a "
                "class or climb out of the config tree: give this again if you trust it"
            )
        then.append(override)
        if key not in typed and group not in typed:
            kept.append(override)
    if "dataset" in typed:
        groups = [group for group in ("algorithm", "network") if group not in typed]
        kept += _written_out(then, arguments, groups)
    return kept + list(arguments)


def _require_one(place: str) -> None:
    try:
        several = sweep_of(f"checkpoint={place}") is not None
    except HydraException:  # Hydra tells it
        return
    if several:
        accepted = "one in a command, as each is tested with the options that made it"
        raise UserError(f"checkpoint={place}: accepted is {accepted}")


def _written_out(
    overrides: Sequence[str], arguments: Sequence[str], groups: Sequence[str]
) -> list[str]:
    """Overrides that give each group the choice and the values that it has under `overrides`."""
    config = ConfigTree(arguments).compose(overrides)
    nodes: Any = OmegaConf.to_container(config, resolve=False)
    found = []
    for group in groups:
        found.append(f"{group}={config.hydra.runtime.choices[group]}")
        values = {key: value for key, value in nodes[group].items() if key != "_target_"}
        found += [f"{group}.{key}={quoted(value)}" for key, value in values.items()]
    return found


def _parsed(override: str, path: Path) -> tuple[str, Any]:
    try:
        parsed = OverridesParser.create().parse_override(override)
        return parsed.key_or_group, parsed.value()
    except HydraException as error:
        raise UserError(f"checkpoint={path}: was made with {override}, no override") from error


def _needs_trust(override: str, key: str, value: Any) -> bool:
    """Whether an override names a class or climbs out of the config tree, as only the user may."""
    return ".." in override or _names_a_class(key, value)


def _names_a_class(key: str, value: Any) -> bool:
    if isinstance(value, dict):
        return any(_names_a_class(str(name), inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(_names_a_class("", inner) for inner in value)
    return key.split(".")[-1] == "_target_"
