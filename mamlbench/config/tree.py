"""Reads from the config files which groups, choices and options exist, without importing torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mamlbench.config.overrides import first_of, parsed, quoted
from mamlbench.errors import UserError
from mamlbench.files import PACKAGE

# The nodes of a composed config, in the order in which --help shows them.
NODES = (
    "training",
    "algorithm",
    "dataset",
    "network",
    "evaluation",
    "hardware",
    "logger",
    "analysis",
)

# Groups that another group's config brings, and the line in its defaults list that does so.
BROUGHT_BY = {
    "evaluation": ("algorithm", "- /evaluation@_global_.evaluation: usual"),
    "network": ("dataset", "- /network@_global_.network: mlp"),
}

_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):(?P<rest>.*)$")
_DEFAULTS = re.compile(r"^defaults:\n((?: *[-#].*\n)*)", re.MULTILINE)
_BASE = re.compile(r"^ *- (?!_self_$)(\w+)$", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#\s?(?P<text>.*)$")


class ConfigTree:
    """The folders and files under `conf`, and under a user's own `--config-dir`.

    Attributes:
        roots: the config folders, mamlbench's own first.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.roots = [own_root()]
        line = parsed(arguments)
        self._is_sweep = line.multirun
        if line.config_dir is not None:
            self.roots.append(Path(line.config_dir))

    def groups(self) -> list[str]:
        """Names of the config groups in alphabetical order, including folders within `preset`."""
        found = set()
        for root in self.roots:
            # the `hydra` folder configures Hydra, not runs
            folders = [path for path in root.glob("*") if path.is_dir() and path.name != "hydra"]
            folders += [path for path in root.glob("preset/*") if path.is_dir()]
            found |= {path.relative_to(root).as_posix() for path in folders if _has_yaml(path)}
        return sorted(found)

    def choices(self, group: str) -> list[str]:
        """Names that `group=` accepts; a name in a subfolder is `folder/name`."""
        inner = [other for other in self.groups() if other.startswith(f"{group}/")]
        found = set()
        for root in self.roots:
            for path in (root / group).rglob("*.yaml"):
                name = path.relative_to(root / group).with_suffix("").as_posix()
                if not any(f"{group}/{name}".startswith(f"{other}/") for other in inner):
                    found.add(name)
        return sorted(found)

    def description(self, group: str, choice: str) -> str:
        """The first sentence of the comment at the top of a choice's file; may be empty."""
        comment: list[str] = []
        for line in self.text(f"{group}/{choice}").splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                comment.append(line.lstrip("# "))
        return re.split(r"(?<=\.)\s", " ".join(comment), maxsplit=1)[0]

    def comments(self, file: str) -> dict[str, str]:
        """The comment at the end of each option's line in `file`, by the option's dotted key.

        Includes the comments of choices of the same group in the file's defaults list.
        """
        text, group = self.text(file), file.rpartition("/")[0]
        defaults = _DEFAULTS.search(text)
        found: dict[str, str] = {}
        for choice in _BASE.findall(defaults[1] if defaults else ""):
            found |= self.comments(f"{group}/{choice}")
        return found | option_comments(text)

    def compose(self, arguments: Sequence[str]) -> Any:
        """Compose the config of these arguments, including the `hydra` node.

        For a sweep, compose its first job.

        Raises:
            hydra.errors.HydraException: an override does not fit the config tree.
        """
        overrides: list[str] = parsed(arguments).overrides
        if self._is_sweep:
            overrides = [first_of(override) for override in overrides]
        return composed(overrides, [f"file://{path.absolute()}" for path in self.roots[1:]])

    def text(self, file: str) -> str:
        """The content of `<file>.yaml`; empty if the file does not exist."""
        for root in self.roots:
            path = root / f"{file}.yaml"
            if path.is_file():
                return path.read_text()
        return ""


def composed(overrides: Sequence[str], searchpath: Sequence[str] = ()) -> Any:
    """Compose the config of these overrides, including the `hydra` node.

    Args:
        overrides: the command line's overrides.
        searchpath: additional config folders, such as `file:///home/me/conf`.

    Raises:
        UserError: see `own_root`.
        hydra.errors.HydraException: an override does not fit the config tree.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    own_root()
    GlobalHydra.instance().clear()
    own = [f"hydra.searchpath={quoted(list(searchpath))}"] if searchpath else []
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        return compose("config", [*overrides, *own], return_hydra_config=True)


def without_hydra(config: Any) -> Any:
    """A copy of a composed config without the `hydra` node."""
    from omegaconf import OmegaConf

    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    del copy["hydra"]
    return copy


@cache
def own_root() -> Path:
    """The folder of mamlbench's own configs, which must be in the same checkout as its code.

    Raises:
        UserError: the configs are in another checkout, for example if two share an environment.
    """
    root = Path(str(files("mamlbench.conf")))
    if root.resolve() not in (PACKAGE.resolve() / "conf", PACKAGE.resolve().parent / "conf"):
        accepted = "accepted is a separate environment for each checkout: pip install -e ."
        raise UserError(f"{PACKAGE}: would use the configs of {root}; {accepted}")
    return root


def lacks(group: str, choice: str) -> str:
    """The error message for an algorithm or dataset `choice` whose config brings no `group`."""
    by, line = BROUGHT_BY[group]
    return f"{by}={choice}: its YAML has no {group}; accepted under its defaults is {line}"


def option_comments(text: str) -> dict[str, str]:
    """The comment at the end of each option's line of YAML; empty if it has none.

    Hydra's own lines (the defaults list, `_target_`) are left out.
    """
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        indent, key, rest = len(match["indent"]), match["key"], match["rest"]
        parents = [(i, k) for i, k in parents if i < indent]
        path = [k for _, k in parents] + [key]
        parents.append((indent, key))
        comment = _COMMENT.search(rest)
        value = rest[: comment.start()] if comment else rest
        if path[0] in ("defaults", "hydra") or key == "_target_" or not value.strip():
            continue
        found[".".join(path)] = comment["text"].strip() if comment else ""
    return found


def _has_yaml(folder: Path) -> bool:
    return next(folder.rglob("*.yaml"), None) is not None
