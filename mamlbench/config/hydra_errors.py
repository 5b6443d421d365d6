"""Turns Hydra's and OmegaConf's errors about a command line into one-line messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from traceback import walk_tb
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mamlbench.config.overrides import key_and_value, key_of, parsed, why_unreadable
from mamlbench.config.tree import ConfigTree, lacks
from mamlbench.errors import did_you_mean
from mamlbench.files import DISK_ERRORS


def one_line(error: Exception, arguments: Sequence[str]) -> str | None:
    """Describe a command line's mistake: the key, what was found, and what is accepted.

    Args:
        error: the exception raised while Hydra prepared itself or composed the config.
        arguments: the command line.

    Returns:
        The message; None if the user did not cause the error, so that a traceback is right.
    """
    tree = ConfigTree(arguments)
    if isinstance(error, MissingConfigException):
        return _missing(error, tree)
    if isinstance(error, HydraException):
        line = _unreadable(error, arguments, tree)
        if line is not None:
            return line
    if isinstance(error, OSError):
        return _disk(error)
    if isinstance(error, ValueError) and "Config group override must be" in str(error):
        return _no_choice(arguments, tree)
    if isinstance(error, ValueError) and re.search(r"(^|\s)--(run|resolve)\b", str(error)):
        return _several_modes(error, arguments)
    if isinstance(error, yaml.YAMLError):
        return "YAML: " + " ".join(str(error).split())
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _composition(error, arguments, tree)
    return None


def _disk(error: OSError) -> str | None:
    """A disk error, or a sweep folder that Hydra cannot create."""
    if error.filename is None or not (error.errno in DISK_ERRORS or _by_hydra(error)):
        return None
    return f"cannot write {error.filename}: {DISK_ERRORS.get(error.errno or 0, error.strerror)}"


def _by_hydra(error: Exception) -> bool:
    """Whether Hydra's code, not mamlbench's, made the call that failed."""
    modules = [frame.f_globals["__name__"] for frame, _ in walk_tb(error.__traceback__)]
    known = [name for name in modules if name.startswith(("mamlbench", "hydra"))]
    return bool(known) and known[-1].startswith("hydra")


def _missing(error: MissingConfigException, tree: ConfigTree) -> str:
    """A choice that does not exist in its group."""
    file = error.missing_cfg_file or ""
    groups = [group for group in tree.groups() if file.startswith(f"{group}/")]
    if groups:
        group = max(groups, key=len)
        accepted = tree.choices(group)
    elif "/" in file and error.options:
        group, accepted = file.rpartition("/")[0], list(error.options)
    else:
        return _first_line(error)
    found = file.removeprefix(f"{group}/")
    is_typo = bool(difflib.get_close_matches(found, accepted, cutoff=0.7))
    own = "" if tree.roots[1:] or is_typo else "; one of your own needs --config-dir=FOLDER"
    return _unknown_choice(group, found, accepted) + own


def _unknown_choice(group: str, found: str, accepted: Sequence[str]) -> str:
    return f"{group}={found}: accepted is {', '.join(accepted)}{did_you_mean(found, accepted)}"


def _unreadable(error: HydraException, arguments: Sequence[str], tree: ConfigTree) -> str | None:
    """The override that Hydra's grammar rejects, if any."""
    found, said = _not_parsed(error, arguments)
    if found is None:
        return None
    found = _typed_apart(found, arguments)
    if re.fullmatch(r"[\w./-]+", found):
        near = [f"{group}={found}" for group in tree.groups() if found in tree.choices(group)]
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        return f"{found}: accepted is key=value{hint}"
    # Hydra's messages about its functions are clear, unlike those of its parser
    of_function = re.search(r"while evaluating '.*': (.+)\n?(.*)", said)
    if of_function is None:
        return f"{found or repr(found)}: {why_unreadable(found)}"
    accepted = of_function[2].replace("Available: ", "; accepted: ").replace(",", ", ")
    return f"{found}: {of_function[1]}{accepted}"


def _not_parsed(error: HydraException, arguments: Sequence[str]) -> tuple[str | None, str]:
    """The override that cannot be parsed, and the message of Hydra's parser."""
    parser = OverridesParser.create()
    found = error.override if isinstance(error, OverrideParseException) else None
    for override in parsed(arguments).overrides if found is None else [found]:
        try:
            parser.parse_override(override)
        except HydraException as own:
            return override, str(own)
    return found, ""


def _typed_apart(override: str, arguments: Sequence[str]) -> str:
    """All of `seed = 3` if it was typed as several arguments, otherwise the override."""
    words = list(arguments)
    at = words.index(override) if override in words else len(words)
    if words[at + 1 : at + 2] == ["="]:
        return " ".join(words[at : at + 3])
    if words[at + 1 : at + 2] and words[at + 1].startswith("="):
        return " ".join(words[at : at + 2])
    if 0 < at < len(words) and re.fullmatch(r"[^=]+=", words[at - 1]):
        return " ".join(words[at - 1 : at + 1])
    return override


def _several_modes(error: ValueError, arguments: Sequence[str]) -> str:
    """Flags that exclude each other."""
    line = parsed(arguments)
    if not line.multirun or (line.cfg is None and line.info is None):
        return _first_line(error)
    flag = "--info" if line.cfg is None else f"--cfg {line.cfg}"
    if any(key_of(override) == "table" for override in line.overrides):
        one = f"as in mamlbench experiment=... {flag} for one cell of a table"
    else:
        one = "with one value for each key"
    return f"-m {flag}: shows one run; accepted is {flag} without -m, {one}"


def _no_choice(arguments: Sequence[str], tree: ConfigTree) -> str:
    """`group=null` for a group that a run needs."""
    for override in parsed(arguments).overrides:
        group, found = key_and_value(override)
        if not group:
            return f"{override}: accepted is key=value"
        if found in ("null", "") and group in tree.groups():
            return _unknown_choice(group, found, tree.choices(group))
    return "null: not a choice of any config group"


def _composition(error: Exception, arguments: Sequence[str], tree: ConfigTree) -> str:
    message = str(error)
    keys = re.search(r"_\$\{network\}', possible interpolation keys: (.*)", message)  # of presets
    if keys and {"algorithm", "dataset"} < {*keys[1].split(", ")}:
        return lacks("network", _choice("dataset", arguments))
    if match := re.search(r"Could not override '([^']*)'", message):
        return _unknown_key(match[1], arguments, tree)
    if match := re.search(r"Could not delete from config. '([^']*)' does not exist", message):
        return _unknown_key(match[1], arguments, tree)
    if match := re.search(r"An item is already at '([^']*)'", message):
        return f"+{match[1]}: this option already exists; accepted is {match[1]}=value"
    if match := re.search(r"Ambiguous value for argument '([^=]*)=([^']*)'", message):
        key, found = match.groups()
        one = "one choice" if key in tree.groups() else f"one value, or a list as {key}=[{found}]"
        why = "several values are a sweep, which needs -m"
        return f"{key}={found}: {why}; accepted without it is {one}"
    for override in parsed(arguments).overrides:
        group, found = key_and_value(override)
        if found.startswith("[") and group in tree.groups() and group != "logger":
            several = f"several are a sweep, -m {group}={found.strip('[]')}"
            return f"{override}: accepted is one choice; {several}"
    deleted = [o[1:] for o in parsed(arguments).overrides if o.startswith("~")]
    for group in map(key_of, deleted):
        if group in tree.groups():
            return f"~{group}: a run needs one; accepted is {group}=" + ", ".join(
                tree.choices(group)
            )
    key = getattr(error, "full_key", None) or getattr(error.__cause__, "full_key", None)
    return f"{key}: {_first_line(error)}" if key else _first_line(error)


def _choice(group: str, arguments: Sequence[str]) -> str:
    """The choice typed for a group; dots if an experiment chose it."""
    typed = map(key_and_value, parsed(arguments).overrides)
    return next((value for name, value in typed if name == group), "...")


def _unknown_key(key: str, arguments: Sequence[str], tree: ConfigTree) -> str:
    """An option that is not in the config, with suggestions of similar or equal names."""
    typed = {key_of(override): override for override in parsed(arguments).overrides}
    found = typed.get(key, key)
    node = _config_without(key, arguments, tree)
    options = list(_options(node))
    place = ""
    for part in re.split(r"[./]", key):
        if not isinstance(node, dict):
            return f"{found}: {place} has no options within; accepted is {place}=value"
        if part not in node:
            break
        place, node = f"{place}.{part}" if place else part, node[part]
    else:
        if parsed(arguments).multirun and "." in key:
            return f"{found}: some jobs of the sweep do not have this option"
        return f"{found}: this cannot be set from here; accepted: {', '.join(options)}"
    groups = [] if place else [group for group in tree.groups() if "/" not in group]
    if key == "evaluation":
        return lacks(key, _choice("algorithm", arguments))
    names = sorted({*node, *groups} - {"_target_", "hydra"})
    elsewhere = [option for option in options if option.endswith(f".{part}")]
    if elsewhere:
        hint = f" (did you mean '{', '.join(elsewhere)}'?)".replace(", ", "' or '")
    else:
        hint = did_you_mean(part, names)
    where = f"{place} has no option {part}" if place else f"there is no option or group {part}"
    return f"{found}: {where}; accepted: {', '.join(names)}{hint}"


def _config_without(key: str, arguments: Sequence[str], tree: ConfigTree) -> dict[str, Any]:
    """The config without the overrides of `key`; the default config if that fails too."""
    kept = [argument for argument in arguments if key_of(argument) != key]
    try:
        config = tree.compose(kept)
    except Exception:
        # one mistake at a time: the next run reports the other one
        config = tree.compose([])
    composed: Any = OmegaConf.to_container(config, resolve=False)
    return composed


def _options(node: dict[str, Any], above: str = "") -> Iterator[str]:
    """Dotted keys of all options except Hydra's own."""
    for name, value in node.items():
        if isinstance(value, dict) and name != "hydra":
            yield from _options(value, f"{above}{name}.")
        elif name not in ("_target_", "hydra"):
            yield above + name


def _first_line(error: Exception) -> str:
    """The message's first line, and its second if the first ends with a colon."""
    first, *others = str(error).splitlines() or [type(error).__name__]
    return " ".join([first, *others[:1]]) if first.endswith(":") else first
