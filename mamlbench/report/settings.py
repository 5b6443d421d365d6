"""What a run's config says about its setting, and how two settings differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

GROUPS = ("training", "algorithm", "network", "dataset", "evaluation")
"""Of a config, what makes a setting; `Run.options` has what else does."""

_WITHOUT_EFFECT = {
    *("training.log_every", "training.checkpoint_every"),
    *("dataset.root", "dataset.threads", "dataset.workers"),
    *("evaluation.name", "evaluation.score_every"),
}
_CLASSES = {
    "training": "mamlbench.training.Training",
    "evaluation": "mamlbench.evaluation.protocol.Protocol",
}
"""Of the groups whose configs name none."""

SIZES = {
    "training.iterations": "iterations",
    "evaluation.tasks": "test tasks",
    "training.validate_every": "",
    "training.patience": "",
    "evaluation.validation_tasks": "",
}
"""How much was done, which may be less than a cell asks for; in words where it is to be said."""

SCALED = {"algorithm.iterations", "algorithm.epoch_length"}
"""Options that a budget scales with the outer steps."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, by the fast loader where PyYAML has it.

    Raises:
        OSError: it cannot be read.
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(path.read_bytes(), _LOADER)


def flat(config: Mapping[str, Any], groups: tuple[str, ...] = GROUPS) -> dict[str, Any]:
    """The setting's options by their dotted names; those without effect on it are left out."""
    found: dict[str, Any] = {}
    for group in groups:
        _flatten(config.get(group), group, found)
    return {name: value for name, value in found.items() if name not in _WITHOUT_EFFECT}


def _flatten(value: Any, name: str, found: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(inner, f"{name}.{key}", found)
    else:
        found[name] = list(value) if isinstance(value, tuple) else value


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Options in which two flat settings differ, by dotted name, with the value in each.

    An option that one lacks is newer than that run: it counts as what its class does without it.
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
    """Flat settings with all options that others of the same classes have; see `differences`."""
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
    """An option's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _value_without(name: str, options: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    """What an option of others counts as here: the default of their class, if it is ours too."""
    group, _, option = name.partition(".")
    target, theirs = (
        _CLASSES.get(group, side.get(f"{group}._target_")) for side in (options, others)
    )
    defaults = _defaults_of_class(str(target)) if target == theirs else {}
    return defaults.get(option, "(no such option)")


@cache
def _defaults_of_class(target: str) -> Mapping[str, Any]:
    """By option; none are known of a class that is not there."""
    # torch comes with these classes, and few reports ask for one
    from mamlbench.config import constructor_defaults

    try:
        cls = resolve_name(target)
    except (ImportError, AttributeError, ValueError):
        return {}
    found = constructor_defaults(cls)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


@cache
def defaults_of(group: str, choice: str) -> Mapping[str, Any]:
    """Flat options of `conf/<group>/<choice>.yaml` as written there, with those it builds on."""
    path = Path(str(files("mamlbench.conf"))) / group / f"{choice}.yaml"
    if not path.is_file():
        return {}
    content = read_yaml(path) or {}
    found: dict[str, Any] = {}
    for other in content.pop("defaults", []):
        if isinstance(other, str) and other != "_self_":
            found |= defaults_of(group, other)
    _flatten(content, group, found)
    return found


@cache
def _choices(group: str) -> Mapping[str, Mapping[str, Any]]:
    folder = Path(str(files("mamlbench.conf"))) / group
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    return {name: defaults_of(group, name) for name in names}


def choice_of(group: str, node: Mapping[str, Any]) -> str:
    """The name of the config that a node was made from: its class, and most of the values."""
    options: dict[str, Any] = {}
    _flatten(node, group, options)
    target = f"{group}._target_"
    alike = {
        name: sum(options.get(key) == value for key, value in known.items()) / len(known)
        for name, known in _choices(group).items()
        if known.get(target) == options.get(target)
    }
    return max(alike, key=lambda name: alike[name]) if alike else str(options.get(target, "?"))


def setting_of(dataset: Mapping[str, Any]) -> str:
    """As a dataset calls its setting: `5way1shot`, `10shot`."""
    if "horizon" in dataset:
        return f"{dataset.get('train_shots')}episodes"
    ways = f"{dataset['ways']}way" if "ways" in dataset else ""
    return f"{ways}{dataset.get('shots')}shot"


def shortened(
    asked: Mapping[str, Any], run: Mapping[str, Any], iterations: int | None
) -> list[str]:
    """What a run did less of than was asked for, as in `4,000 of 60,000 iterations`.

    Iterations that are not recorded may be fewer, and count as that.
    """
    found = ["iterations not recorded"] if iterations is None else []
    for name, words in SIZES.items():
        done = iterations if name == "training.iterations" else run.get(name)
        wanted = asked.get(name)
        if words and done is not None and wanted is not None and done < wanted:
            found.append(f"{done:,} of {wanted:,} {words}")
    return found
