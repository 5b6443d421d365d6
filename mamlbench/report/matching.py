"""Which runs belong to which cells of the papers' tables: those whose config is the cell's."""

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
"""How a test may differ from a cell's and still be of it, with a footnote: other shots, say, or
another normalisation are another cell."""
_CHOSEN = ("algorithm", "dataset", "network", "evaluation")


@dataclass(frozen=True)
class Setting:
    """What a cell asks for.

    Attributes:
        options: flat, all interpolations resolved.
        scaled: names of the options that follow from `training.iterations`.
        begins_warm: with what another run has learned.
    """

    options: Mapping[str, Any]
    scaled: frozenset[str]
    begins_warm: bool = False


@dataclass(frozen=True)
class Match:
    """A run that belongs to a cell.

    Attributes:
        run: the run.
        shortened: what it did less of.
        otherwise_tested: options of the protocol in which it differs: the cell's, the run's.
    """

    run: Run
    shortened: tuple[str, ...] = ()
    otherwise_tested: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def match(tables: Iterable[Table], runs: Sequence[Run]) -> dict[Cell, list[Match]]:
    """The runs of each cell.

    A run whose protocol is not that of any cell is still shown where all else agrees, and says so.
    """
    found: dict[Cell, list[Match]] = {}
    by_options = _by_options(runs)
    of_run: dict[TableRun, list[Match]] = {}
    for cell in (cell for table in tables for cell in table.cells):
        if cell.run is None:
            continue
        if cell.run not in of_run:  # the cells of several inner steps share one
            of_run[cell.run] = _matches(cell.run, by_options)
        found[cell] = of_run[cell.run]
    every = (m for matches in of_run.values() for m in matches)
    exact = {id(m.run) for m in every if not m.otherwise_tested}
    return {
        cell: [m for m in matches if not m.otherwise_tested or id(m.run) not in exact]
        for cell, matches in found.items()
    }


def _by_options(runs: Iterable[Run]) -> list[tuple[Mapping[str, Any], list[Run]]]:
    """The runs by their flat options, which the seeds of one setting share."""
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
            # longer training is another result, and so is what was not trained at all
            is_another = at_most > length or run.iterations == 0 < length
            is_another = is_another or run.trained_on is not None
            if not is_another and bool(run.config["warm_start"]) == setting.begins_warm:
                less = shortened(setting.options, options, run.iterations)
                found.append(Match(run, tuple(less), otherwise_tested))
    return found


def _apart(setting: Setting, options: Mapping[str, Any]) -> Mapping[str, tuple[Any, Any]] | None:
    """Options of the protocol that differ, sizes aside; None where it is another setting."""
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
    """The setting that a table's run composes, of full length.

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
    """Whether what a cell's files say outright agrees with a run; composing it takes far longer."""
    return all(options.get(name, value) == value for name, value in raw.items())


def _as_written(run: TableRun) -> dict[str, Any]:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found, parser = dict(_written_in(run.experiment)), OverridesParser.create()
    for override in run.overrides:
        name, text = key_and_value(override)
        if name in _CHOSEN:
            found.pop(target := f"{name}._target_", None)  # of one's own choice nothing is known
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
    """Flat options of `conf/<group>/<choice>.yaml` as written there, with those it builds on."""
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
