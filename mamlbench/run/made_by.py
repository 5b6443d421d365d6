"""Composes the test of a checkpoint with the overrides of the run that made the checkpoint."""

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

# Overrides that the test does not take over: what that run started from, how it ran, its folder.
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
    """If the arguments have `checkpoint=`, prepend the overrides of the run that made it.

    The learner is then composed as in training. Typed overrides take precedence: a typed group
    drops that run's overrides within it. If a dataset is typed, which may bring other presets, the
    algorithm's and the network's values from training are added as overrides.

    Raises:
        UserError: several checkpoints, no valid checkpoint, or one with overrides that name a
            class: only the user may decide what is imported, not a file from elsewhere.
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
                f"checkpoint={path}: was made with {override}, which names a class or leaves the "
                "config tree; type it again if you trust it"
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
    except HydraException:  # Hydra reports it later
        return
    if several:
        accepted = "one per command, because each is tested with its own training's options"
        raise UserError(f"checkpoint={place}: accepted is {accepted}")


def _written_out(
    overrides: Sequence[str], arguments: Sequence[str], groups: Sequence[str]
) -> list[str]:
    """Overrides for each group's choice and all its values, as composed from `overrides`."""
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
        raise UserError(
            f"checkpoint={path}: was made with {override}, which is not an override"
        ) from error


def _needs_trust(override: str, key: str, value: Any) -> bool:
    """Whether an override names a class or leaves the config tree, which only the user may do."""
    return ".." in override or _names_a_class(key, value)


def _names_a_class(key: str, value: Any) -> bool:
    if isinstance(value, dict):
        return any(_names_a_class(str(name), inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(_names_a_class("", inner) for inner in value)
    return key.split(".")[-1] == "_target_"
