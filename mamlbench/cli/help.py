"""`mamlbench --help`: example commands, config groups with their choices, and every option."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mamlbench.config.tree import NODES, ConfigTree

_TYPED = (
    ("mamlbench", "MAML on sinusoids, with nothing to download"),
    ("mamlbench algorithm=reptile dataset=omniglot", "this pair, with the settings of its paper"),
    ("mamlbench algorithm=reptile dataset=omniglot --help", "the options of this pair"),
    ("mamlbench -m algorithm=maml,reptile seed=0,1,2", "a sweep: every combination"),
    ("mamlbench evaluation=standard checkpoint=RUN", "test a trained model under another protocol"),
    ("mamlbench experiment=maml/sinusoid", "a run as in its paper, at full length"),
    ("mamlbench -m +table=maml_sinusoid budget=smoke", "a paper's table, shortened to minutes"),
)
_FLAGS = (
    ("-m, --multirun", "run every combination of values that are given as key=a,b,c"),
    ("--cfg job", "print the composed config and run nothing"),
    ("--config-dir FOLDER", "add a folder of your own with algorithm/, dataset/ and so on"),
    ("-sc install=bash", 'completion in this shell: eval "$(mamlbench -sc install=bash)"; or fish'),
    ("--hydra-help", "what else Hydra, which composes the config, can do"),
    ("--version", "the version"),
)


def wanted(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for help."""
    return "--help" in arguments or "-h" in arguments


def text(arguments: Sequence[str]) -> str:
    """The help text, with the choices and option values that this command line would use.

    Raises:
        hydra.errors.HydraException: an override does not fit the config tree.
    """
    from omegaconf import OmegaConf

    tree = ConfigTree(arguments)
    config = tree.compose(arguments)
    nodes: Any = OmegaConf.to_container(config, resolve=False)
    chosen = {group: [str(name)] for group, name in config.hydra.runtime.choices.items()}
    chosen["logger"] = list(nodes["logger"] or {})  # Hydra keeps no record of a list of choices
    # presets are chosen automatically, so nobody types them
    groups = [group for group in tree.groups() if group.split("/")[0] != "preset"]
    parts = [
        "mamlbench trains, evaluates and compares model-agnostic meta-learning algorithms.",
        "usage: mamlbench [flags] [key=value ...]",
        _section("What people type", _TYPED),
        _section("Flags", _FLAGS),
        "Groups: group=choice (* is chosen)",
        *(_group(tree, group, chosen.get(group, [])) for group in groups),
        "Options: key=value (with the values of this command line)",
        *_options(tree, nodes, chosen),
    ]
    return "\n\n".join(parts)


def _group(tree: ConfigTree, group: str, chosen: Sequence[str]) -> str:
    rows = [
        (("* " if choice in chosen else "  ") + choice, tree.description(group, choice))
        for choice in tree.choices(group)
    ]
    return _section(group, rows)


def _options(
    tree: ConfigTree, nodes: Mapping[str, Any], chosen: Mapping[str, Sequence[str]]
) -> Iterable[str]:
    experiment = next(iter(chosen.get("experiment", [])), "")
    comments = tree.comments(f"experiment/{experiment}") | tree.comments("config")
    top = {key: value for key, value in nodes.items() if not isinstance(value, dict)}
    yield _option_section("top level", top, comments)
    for node in NODES:
        if not isinstance(nodes.get(node), dict):
            continue
        for name in chosen.get(node, []):
            own = tree.comments(f"{node}/{name}")
            comments |= {f"{node}.{key}": comment for key, comment in own.items()}
        yield _option_section(_chosen(node, chosen.get(node, [])), {node: nodes[node]}, comments)


def _chosen(node: str, choices: Sequence[str]) -> str:
    """How to type these choices: `network=mlp`, `logger=[csv,wandb]`."""
    if not choices:
        return node
    return f"{node}={choices[0]}" if len(choices) == 1 else f"{node}=[{','.join(choices)}]"


def _option_section(title: str, values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    rows = [(f"{key}={_typed(value)}", comments.get(key, "")) for key, value in _flat(values)]
    return _section(title, rows)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        elif key != "_target_":
            yield above + key, value


def _typed(value: Any) -> str:
    """A value as typed on the command line."""
    if isinstance(value, list):
        return "[" + ",".join(map(_typed, value)) + "]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A title and rows in two columns, the second wrapped to the terminal's width."""
    rows = list(rows)
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    longest = max((len(left) for left, _ in rows), default=0)
    column = 2 + min(longest, width // 2) + 2
    lines = [title]
    for left, right in rows:
        wrapped = textwrap.wrap(right, max(width - column, 20)) or [""]
        if len(left) + 4 > column:
            lines.append(f"  {left}")
        else:
            wrapped[0] = f"  {left}".ljust(column) + wrapped[0]
            lines.append(wrapped.pop(0).rstrip())
        lines += [" " * column + line for line in wrapped]
    return "\n".join(lines)
