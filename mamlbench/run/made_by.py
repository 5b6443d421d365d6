"""Composes the test of a checkpoint with the overrides of the run that made the checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from mamlbench.config.budget import within_budget
from mamlbench.config.overrides import key_and_value, key_of, quoted, sweep_of
from mamlbench.config.settings import GROUPS, SCALED, flat
from mamlbench.config.tree import ConfigTree, without_hydra
from mamlbench.errors import UserError

# Overrides that the test does not take over: what that run started from, how and where it ran.
_NOT_KEPT = (
    "checkpoint",
    "also_test",
    "warm_start",
    "restart",
    "outputs",
    "hardware",
    "logger",
    "hydra",
)


def with_overrides_of_checkpoint(arguments: Sequence[str]) -> list[str]:
    """If the arguments have `checkpoint=`, prepend the overrides of the run that made it.

    The learner is then composed as in training, even if a config file has changed since or is not
    found now. Typed overrides take precedence: a typed group drops that run's overrides within it.
    If a dataset is typed, which may bring other presets, the algorithm's and the network's values
    from training are added as overrides.

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
    state = checkpoint.load(path)
    then = _vetted(map(str, state.get("overrides", [])), typed, path)
    recorded = (state.get("run") or {}).get("options", {})
    untyped = {n: v for n, v in recorded.items() if n.split(".")[0] not in typed}
    then += _vetted(_no_longer_given(then, untyped, arguments), typed, path)
    kept = [o for o in then if not {key_of(o), _group(key_of(o))} & typed.keys()]
    if "dataset" in typed:
        groups = [group for group in ("algorithm", "network") if group not in typed]
        kept += _written_out(then, arguments, groups)
    return kept + list(arguments)


def _vetted(overrides: Iterable[str], typed: Mapping[str, str], path: Path) -> list[str]:
    """The overrides that the test takes over.

    Raises:
        UserError: one of them needs the user's trust and is not typed.
    """
    found = []
    for override in overrides:
        key, value = _parsed(override, path)
        if _group(key) in _NOT_KEPT:
            continue
        if _needs_trust(override, key, value) and key not in typed:
            raise UserError(
                f"checkpoint={path}: was made with {override}, which names a class or leaves the "
                "config tree; type it again if you trust it"
            )
        found.append(override)
    return found


def _no_longer_given(
    overrides: Sequence[str], recorded: Mapping[str, Any], arguments: Sequence[str]
) -> Iterator[str]:
    """Overrides for the recorded options whose values `overrides` do not give now.

    A config file may have changed since, or be in a folder that `arguments` do not name.
    """
    try:
        config = ConfigTree(arguments).compose(overrides)
        now = flat(within_budget(without_hydra(config))[0])
    except (HydraException, UserError):  # what is typed may replace what is missing
        return
    scaled = set() if config.budget == "full" else {"training.iterations", *SCALED}
    for name, value in recorded.items():
        target = f"{_group(name)}._target_"
        if _group(name) not in GROUPS or name in scaled:
            continue
        if name in now:
            if now[name] != value:
                yield f"{name}={quoted(value)}"
        elif recorded.get(target) != now.get(target):  # otherwise its class has it no more
            yield f"++{name}={quoted(value)}"


def _group(key: str) -> str:
    return re.split(r"[./]", key)[0]


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
