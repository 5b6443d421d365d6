"""The setting of a run: its config's options by dotted name, and how two settings differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pkgutil import resolve_name
from typing import Any

from mamlbench.config.build import constructor_defaults
from mamlbench.config.config_hash import WITHOUT_EFFECT

GROUPS = ("training", "algorithm", "network", "dataset", "evaluation")
"""The config groups that make up a setting; `Run.options` has further options of it."""

_WITHOUT_EFFECT = {f"{group}.{name}" for group in GROUPS for name in WITHOUT_EFFECT.get(group, ())}
_WITHOUT_EFFECT |= {"dataset.root", "evaluation.name"}  # of files, their hash counts instead
_CLASSES = {
    "training": "mamlbench.training.Training",
    "evaluation": "mamlbench.evaluation.protocol.Protocol",
}
"""Classes of the groups whose configs have no `_target_`."""

SIZES = {
    "training.iterations": "iterations",
    "evaluation.tasks": "test tasks",
    "training.validate_every": "",
    "training.patience": "",
    "evaluation.validation_tasks": "",
}
"""Options for how much a run does, which may be less than a cell asks for, with their names in
messages (empty: not reported)."""

SCALED = {"algorithm.iterations", "algorithm.epoch_length"}
"""Further options that a budget scales with the outer steps."""


def flat(config: Mapping[str, Any], groups: tuple[str, ...] = GROUPS) -> dict[str, Any]:
    """The setting's options by dotted name, without those that do not affect the result."""
    found: dict[str, Any] = {}
    for group in groups:
        found |= flattened(config.get(group), group)
    return {name: value for name, value in found.items() if name not in _WITHOUT_EFFECT}


def flattened(node: Any, name: str) -> dict[str, Any]:
    """The values of a config node by dotted name, prefixed with the node's `name`."""
    if not isinstance(node, Mapping):
        return {name: list(node) if isinstance(node, tuple) else node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= flattened(value, f"{name}.{key}")
    return found


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Options in which two flat settings differ, by dotted name, with both values.

    If one setting lacks an option, that option is newer than the run; its class's default counts.
    """
    found = {}
    for name in {**ours, **theirs}:
        first, second = (
            side[name] if name in side else _value_without(name, side, other)
            for side, other in ((ours, theirs), (theirs, ours))
        )
        if first != second:
            found[name] = first, second
    return found


def completed(every: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Flat settings, each with the missing options that others of the same classes have.

    See `differences` for the values of missing options.
    """
    known: dict[str, dict[str, Any]] = {}
    for options in every:
        known.setdefault(_classes_of(options), {}).update(options)
    found = []
    for options in every:
        others = known[_classes_of(options)]
        lacks = {n: _value_without(n, options, others) for n in others if n not in options}
        found.append({**options, **lacks})
    return found


def _classes_of(options: Mapping[str, Any]) -> str:
    return repr(sorted((n, v) for n, v in options.items() if n.endswith("._target_")))


def option_text(value: Any) -> str:
    """An option's value in command-line syntax."""
    return value if isinstance(value, str) else json.dumps(value)


def _value_without(name: str, options: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    """The value of an option missing in `options`: its class's default, if both use that class."""
    group, _, option = name.partition(".")
    target, theirs = (
        _CLASSES.get(group, side.get(f"{group}._target_")) for side in (options, others)
    )
    defaults = _defaults_of_class(str(target)) if target == theirs else {}
    return defaults.get(option, "(no such option)")


@cache
def _defaults_of_class(target: str) -> Mapping[str, Any]:
    """The defaults of a class by option; empty if the class cannot be imported."""
    found: Mapping[str, Any] = {}
    with suppress(Exception):  # a user's module may be broken or gone
        # this imports torch, which most reports do not need
        found = constructor_defaults(resolve_name(target))
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def shortened(
    asked: Mapping[str, Any], run: Mapping[str, Any], iterations: int | None
) -> list[str]:
    """Where a run did less than was asked for, such as `4,000 of 60,000 iterations`.

    Unrecorded iterations are listed too, because they may be fewer.
    """
    found = ["iterations not recorded"] if iterations is None else []
    for name, words in SIZES.items():
        done = iterations if name == "training.iterations" else run.get(name)
        wanted = asked.get(name)
        if words and done is not None and wanted is not None and done < wanted:
            found.append(f"{done:,} of {wanted:,} {words}")
    return found
