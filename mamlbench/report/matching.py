"""Match runs to the cells of the papers' tables by their configs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mamlbench.config.overrides import key_and_value, over
from mamlbench.config.settings import SCALED, SIZES, differences, flat, flattened, shortened
from mamlbench.config.tree import own_root
from mamlbench.errors import UserError
from mamlbench.files import read_yaml
from mamlbench.report.runs import Run
from mamlbench.tables import Cell, Table, TableRun

_PROTOCOL = {
    *("evaluation.queries", "evaluation.select", "evaluation.inner_steps"),
    "dataset.test_goals_seed",
}
"""Options in which a run's test may differ from its cell's, with a footnote. A run that differs in
other options, such as shots or normalisation, belongs to another cell."""
_CHOSEN = ("algorithm", "dataset", "network", "evaluation")


@dataclass(frozen=True)
class Setting:
    """What a cell asks for.

    Attributes:
        options: flat, all interpolations resolved.
        scaled: names of the options that depend on `training`'s, such as the iterations.
        begins_warm: whether it starts with what another run has learned.
    """

    options: Mapping[str, Any]
    scaled: frozenset[str]
    begins_warm: bool = False


@dataclass(frozen=True)
class Match:
    """A run that belongs to a cell.

    Attributes:
        run: the run.
        shortened: what it did less of than the cell asks for, in words.
        otherwise_tested: protocol options that differ, with the cell's value and the run's.
    """

    run: Run
    shortened: tuple[str, ...] = ()
    otherwise_tested: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def match(tables: Iterable[Table], runs: Sequence[Run]) -> dict[Cell, list[Match]]:
    """The runs of each cell.

    A run that matches no cell exactly also matches the cells from which only its protocol differs.
    """
    found: dict[Cell, list[Match]] = {}
    by_options = _by_options(runs)
    of_run: dict[TableRun, list[Match]] = {}
    for cell in (cell for table in tables for cell in table.cells):
        if cell.run is None:
            continue
        if cell.run not in of_run:  # cells of different inner steps share a run
            of_run[cell.run] = _matches(cell.run, by_options)
        found[cell] = of_run[cell.run]
    every = (m for matches in of_run.values() for m in matches)
    exact = {id(m.run) for m in every if not m.otherwise_tested}
    return {
        cell: [m for m in matches if not m.otherwise_tested or id(m.run) not in exact]
        for cell, matches in found.items()
    }


def _by_options(runs: Iterable[Run]) -> list[tuple[Mapping[str, Any], list[Run]]]:
    """Group the runs by their flat options, which the seeds of one setting share."""
    found: dict[str, tuple[Mapping[str, Any], list[Run]]] = {}
    for run in runs:
        options = flat(run.config)
        found.setdefault(json.dumps(options, sort_keys=True), (options, []))[1].append(run)
    return list(found.values())


def _matches(
    asked: TableRun, by_options: Iterable[tuple[Mapping[str, Any], list[Run]]]
) -> list[Match]:
    raw = _as_written(asked)
    likely = [(options, runs) for options, runs in by_options if _may_be(raw, options)]
    if not likely:
        return []
    setting, found = setting_of_cell(asked), []
    length: int = setting.options["training.iterations"]
    for options, runs in likely:
        otherwise_tested = _apart(setting, options)
        if otherwise_tested is None:
            continue
        for run in runs:
            planned = options["training.iterations"]
            at_most = planned if run.iterations is None else run.iterations
            # longer training, or none at all, gives another result
            is_another = at_most > length or run.iterations == 0 < length
            is_another = is_another or run.trained_on is not None
            if not is_another and bool(run.config["warm_start"]) == setting.begins_warm:
                less = shortened(setting.options, options, run.iterations)
                found.append(Match(run, tuple(less), otherwise_tested))
    return found


def _apart(setting: Setting, options: Mapping[str, Any]) -> Mapping[str, tuple[Any, Any]] | None:
    """Protocol options that differ, except sizes; None if the setting is another one."""
    apart = differences(setting.options, options)
    as_long = "training.iterations" not in apart
    kept = {
        name: values
        for name, values in apart.items()
        if name not in SIZES and (as_long or name not in setting.scaled)
    }
    return kept if _PROTOCOL.issuperset(kept) else None


@cache
def setting_of_cell(run: TableRun) -> Setting:
    """The full-length setting that a table's run composes.

    Raises:
        UserError: an override that does not fit the config tree.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from mamlbench.config.build import plain
    from mamlbench.config.tree import composed, without_hydra

    overrides = over([f"experiment={run.experiment}", *run.overrides], run.evaluate)
    own = [] if run.config_dir is None else [f"file://{run.config_dir}"]
    try:
        made = composed(overrides, own)
    except HydraException as error:
        why = str(error).splitlines()[0]
        raise UserError(f"a table's cell, {' '.join(overrides)}: {why}") from error
    made = without_hydra(made)
    written: Any = OmegaConf.to_container(made, resolve=False)
    scaled = SCALED | {
        name
        for name, value in flat(written).items()
        if isinstance(value, str) and "${training." in value
    }
    begins_warm = written.get("warm_start") is not None
    return Setting(flat(plain(made)), frozenset(scaled), begins_warm)


def _may_be(raw: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether the literal values in a cell's files agree with a run; far faster than composing."""
    return all(options.get(name, value) == value for name, value in raw.items())


def _as_written(run: TableRun) -> dict[str, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found, parser = dict(_written_in(run.experiment)), OverridesParser.create()
    for override in run.overrides:
        name, text = key_and_value(override)
        if name in _CHOSEN:
            found.pop(target := f"{name}._target_", None)  # unknown for a user's own config
            found |= {n: v for n, v in _defaults_of(name, text).items() if n == target}
        else:
            found[name] = parser.parse_override(override).value()
    unsure = ("evaluation.", "hardware.", "logger.")
    return {
        name: value
        for name, value in found.items()
        if name not in SIZES
        and not name.startswith(unsure)
        and value is not None
        and "${" not in str(value)
    }


@cache
def _defaults_of(group: str, choice: str) -> Mapping[str, Any]:
    """Flat options as written in `conf/<group>/<choice>.yaml` and the configs it builds on."""
    path = own_root() / group / f"{choice}.yaml"
    if not path.is_file():
        return {}
    content = read_yaml(path) or {}
    found: dict[str, Any] = {}
    for other in content.pop("defaults", []):
        if isinstance(other, str) and other != "_self_":
            found |= _defaults_of(group, other)
    return found | flattened(content, group)


@cache
def _written_in(experiment: str) -> Mapping[str, Any]:
    """Flat options that an experiment's file sets, and the classes that it chooses."""
    path = own_root() / "experiment" / f"{experiment}.yaml"
    if not path.is_file():
        return {}
    content = read_yaml(path) or {}
    found: dict[str, Any] = {}
    for entry in content.pop("defaults", []):
        if isinstance(entry, str) and entry.startswith("/experiment/"):
            found |= _written_in(entry.removeprefix("/experiment/"))
        elif isinstance(entry, Mapping):
            for group, choice in entry.items():
                name = str(group).removeprefix("override ").removeprefix("/")
                target = f"{name}._target_"
                if target in (known := _defaults_of(name, str(choice))):
                    found[target] = known[target]
    return {**found, **flat(content)}
