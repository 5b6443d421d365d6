"""What the config tree offers, read from its files: fast, without torch and without a run."""

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

# What a composed config has besides single options, in the order in which help shows them.
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

# Who brings a group, from which the command line may then choose: by a line of its YAML.
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
        roots: the folders, mamlbench's own first.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.roots = [own_root()]
        line = parsed(arguments)
        self._is_sweep = line.multirun
        if line.config_dir is not None:
            self.roots.append(Path(line.config_dir))

    def groups(self) -> list[str]:
        """Names of the config groups, in alphabetical order, folders within `preset` included."""
        found = set()
        for root in self.roots:
            # options of Hydra's own are not what a run is composed of
            folders = [path for path in root.glob("*") if path.is_dir() and path.name != "hydra"]
            folders += [path for path in root.glob("preset/*") if path.is_dir()]
            found |= {path.relative_to(root).as_posix() for path in folders if _has_yaml(path)}
        return sorted(found)

    def choices(self, group: str) -> list[str]:
        """Names that `group=` accepts, those in subfolders as `folder/name`."""
        inner = [other for other in self.groups() if other.startswith(f"{group}/")]
        found = set()
        for root in self.roots:
            for path in (root / group).rglob("*.yaml"):
                name = path.relative_to(root / group).with_suffix("").as_posix()
                if not any(f"{group}/{name}".startswith(f"{other}/") for other in inner):
                    found.add(name)
        return sorted(found)

    def description(self, group: str, choice: str) -> str:
        """The first sentence of the comment that a choice's file begins with, or nothing."""
        comment: list[str] = []
        for line in self.text(f"{group}/{choice}").splitlines():
            if not line.startswith("#"):
                break
            if not line.startswith("# @package"):
                comment.append(line.lstrip("# "))
        return re.split(r"(?<=\.)\s", " ".join(comment), maxsplit=1)[0]

    def comments(self, file: str) -> dict[str, str]:
        """The comment at the end of each option's line in `file`, by the option's dotted key.

        Those of a choice that it builds on, of the same group, come first.
        """
        text, group = self.text(file), file.rpartition("/")[0]
        defaults = _DEFAULTS.search(text)
        found: dict[str, str] = {}
        for choice in _BASE.findall(defaults[1] if defaults else ""):
            found |= self.comments(f"{group}/{choice}")
        return found | option_comments(text)

    def compose(self, arguments: Sequence[str]) -> Any:
        """The config that these command-line arguments make, with the node `hydra`.

        Of a sweep, the first job's.

        Raises:
            hydra.errors.HydraException: an override that does not fit the tree.
        """
        overrides: list[str] = parsed(arguments).overrides
        if self._is_sweep:
            overrides = [first_of(override) for override in overrides]
        return composed(overrides, [f"file://{path.absolute()}" for path in self.roots[1:]])

    def text(self, file: str) -> str:
        """The content of `<file>.yaml`, empty where there is none."""
        for root in self.roots:
            path = root / f"{file}.yaml"
            if path.is_file():
                return path.read_text()
        return ""


def composed(overrides: Sequence[str], searchpath: Sequence[str] = ()) -> Any:
    """The config that these overrides make, with the node `hydra`.

    Args:
        overrides: of the command line.
        searchpath: where config files are besides mamlbench's own, as `file:///home/me/conf`.

    Raises:
        UserError: see `own_root`.
        hydra.errors.HydraException: an override that does not fit the config tree.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    own_root()
    GlobalHydra.instance().clear()
    own = [f"hydra.searchpath={quoted(list(searchpath))}"] if searchpath else []
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        return compose("config", [*overrides, *own], return_hydra_config=True)


def without_hydra(config: Any) -> Any:
    """A copy of a composed config without the node `hydra`."""
    from omegaconf import OmegaConf

    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    del copy["hydra"]
    return copy


@cache
def own_root() -> Path:
    """The folder of mamlbench's own configs, which must be of the same checkout as its code.

    Raises:
        UserError: it is of another one, as where two share an environment.
    """
    root = Path(str(files("mamlbench.conf")))
    if root.resolve() not in (PACKAGE.resolve() / "conf", PACKAGE.resolve().parent / "conf"):
        accepted = "accepted is an environment of its own for each checkout: pip install -e ."
        raise UserError(f"{PACKAGE}: is run with the configs of {root}; {accepted}")
    return root


def lacks(group: str, choice: str) -> str:
    """What to tell whose algorithm or dataset, by its name, brings no such group."""
    by, line = BROUGHT_BY[group]
    return f"{by}={choice}: brings no {group}; accepted under defaults in its YAML is {line}"


def option_comments(text: str) -> dict[str, str]:
    """The comment at the end of each option's line of YAML, empty where there is none.

    Lines that belong to Hydra (the defaults list, `_target_`) are left out.
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
