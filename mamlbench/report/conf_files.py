"""What mamlbench's config files say, as written; composing them takes far longer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from mamlbench.config.settings import flat, flattened
from mamlbench.config.tree import own_root
from mamlbench.files import read_yaml


@cache
def defaults_of(group: str, choice: str) -> Mapping[str, Any]:
    """Flat options of `conf/<group>/<choice>.yaml` as written there, with those it builds on."""
    path = own_root() / group / f"{choice}.yaml"
    if not path.is_file():
        return {}
    content = read_yaml(path) or {}
    found: dict[str, Any] = {}
    for other in content.pop("defaults", []):
        if isinstance(other, str) and other != "_self_":
            found |= defaults_of(group, other)
    return found | flattened(content, group)


@cache
def written_in(experiment: str) -> Mapping[str, Any]:
    """Flat options that an experiment's file sets, and the classes that it chooses."""
    path = own_root() / "experiment" / f"{experiment}.yaml"
    if not path.is_file():
        return {}
    content = read_yaml(path) or {}
    found: dict[str, Any] = {}
    for entry in content.pop("defaults", []):
        if isinstance(entry, str) and entry.startswith("/experiment/"):
            found |= written_in(entry.removeprefix("/experiment/"))
        elif isinstance(entry, Mapping):
            for group, choice in entry.items():
                name = str(group).removeprefix("override ").removeprefix("/")
                target = f"{name}._target_"
                if target in (known := defaults_of(name, str(choice))):
                    found[target] = known[target]
    return {**found, **flat(content)}


@cache
def _choices(group: str) -> Mapping[str, Mapping[str, Any]]:
    folder = own_root() / group
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    return {name: defaults_of(group, name) for name in names}


def choice_of(group: str, node: Mapping[str, Any]) -> str:
    """The name of the config that a node was made from: its class, and most of the values."""
    options = flattened(node, group)
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
