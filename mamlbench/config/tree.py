"""What the config tree offers, read from its files: fast, without torch and without a run."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from mamlbench.config.overrides import key_and_value, key_of, list_of, quoted
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
            overrides = [_first_of(override) for override in overrides]
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


def parsed(arguments: Sequence[str]) -> Namespace:
    """The command line as Hydra takes it apart; flags may also stand among the overrides.

    Raises:
        UserError: a flag that there is not.
    """
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; mamlbench --help lists the flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign] # its own prints the whole usage
    return parser.parse_intermixed_args(list(arguments))


def require_kept_in_place(arguments: Sequence[str]) -> None:
    """Refuse what Hydra offers and a run would forget, overlook, or be misplaced by.

    Raises:
        UserError: another primary config, a working folder of each job, a sweep without -m, or a
            file of one's own that bears the name of one of mamlbench's, which Hydra takes first.
    """
    line = parsed(arguments)
    typed = [o for o in line.overrides if key_of(o) == "hydra.searchpath"]
    urls = [url for override in typed for url in list_of(override, str)]
    folders = [url.removeprefix("file://") for url in urls if url.startswith("file://")]
    for own in map(Path, [*filter(None, [line.config_dir]), *folders]):
        for path in sorted(own.rglob("*.yaml")):
            if (own_root() / path.relative_to(own)).is_file():
                why = "mamlbench has a file of this name, which goes before"
                raise UserError(f"{path}: {why}; accepted is another")
    if line.config_name is not None or line.config_path is not None:
        flag, value = "--config-name", line.config_name
        if value is None:
            flag, value = "--config-path", line.config_path
        # tests, sweeps and jobs of a cluster compose mamlbench's own
        accepted = "--config-dir=FOLDER experiment=NAME, of FOLDER/experiment/NAME.yaml"
        raise UserError(f"{flag}={value}: accepted is {accepted}")
    for override in line.overrides:
        key, value = key_and_value(override)
        if key == "hydra.job.chdir" and value.lower() != "false":
            raise UserError(f"{override}: accepted is outputs=FOLDER, below which all runs are")
        if key == "hydra.mode" and value != "RUN":
            raise UserError(f"{override}: accepted is -m")


def options_of_each_job(arguments: Sequence[str]) -> list[str]:
    """The arguments, where they sweep over a group with each option as a sweep of one value.

    Of what is not swept Hydra makes a config before the jobs' own, with the defaults of the groups
    that are: it would refuse `algorithm=emaml,bmaml algorithm.particles=5` because MAML has none.
    """
    line = parsed(arguments)
    groups = ConfigTree(arguments).groups() if line.multirun else []
    swept = {o for o in line.overrides if line.multirun and sweep_of(o) is not None}
    if not any(key_of(override) in groups for override in swept):
        return list(arguments)
    return [
        _of_each_job(argument) if argument in line.overrides and argument not in swept else argument
        for argument in arguments
    ]


def _of_each_job(override: str) -> str:
    key, _, value = override.partition("=")  # the key as it is, with its + or ~
    is_option = "." in key and value and not key.startswith(("~", "hydra."))
    if value.strip().lower() == "null":  # which Hydra takes in no choice
        return override
    return f"{key}=choice({value})" if is_option else override


def _first_of(override: str) -> str:
    sweep = sweep_of(override)
    if sweep is None:
        return override
    first = (
        sweep.value().start if sweep.is_interval_sweep() else next(sweep.sweep_string_iterator())
    )
    return f"{sweep.get_key_element()}={first}"


def sweep_of(override: str) -> Any:
    """Hydra's own reading of an override that has several values, or None."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_override(override)
    return parsed if parsed.is_sweep_override() else None


def _has_yaml(folder: Path) -> bool:
    return next(folder.rglob("*.yaml"), None) is not None
