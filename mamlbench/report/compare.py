"""Two runs side by side: what differs in their configs, and in their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamlbench import metrics
from mamlbench.config.settings import differences, option_text
from mamlbench.errors import UserError
from mamlbench.report.paired import (
    Difference,
    difference,
    difference_text,
    tested_otherwise,
    why_not,
)
from mamlbench.report.runs import Run, read_run
from mamlbench.report.sheets import Sheet

_NO_SCORES = "not every test task has a finite score"


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        one, other: the runs.
        why_not: why their test tasks differ; None if they are the same.
        options: options that differ, by dotted name, with both values.
        facts: what else differs, such as seed, device or code, with both values.
        differences: `other` minus `one` for each metric that both have; None if not paired.
    """

    one: Run
    other: Run
    why_not: str | None
    options: Mapping[str, tuple[Any, Any]]
    facts: Mapping[str, tuple[str, str]]
    differences: Mapping[str, Difference | None]

    def sheets(self) -> list[Sheet]:
        """What differs in their configs, and in their results."""
        return [_configs(self), _results(self)]


def compare(first: Path, second: Path, strict: bool = False) -> Comparison:
    """Compare two finished runs.

    Raises:
        UserError: a folder has no finished run, or `strict` and the runs are not comparable.
    """
    one, other = _read(first), _read(second)
    reason = why_not(one, other)
    if reason is not None and strict:
        raise UserError(f"{first} and {second} are not comparable: {reason}")
    options, mine, theirs = differences(one.options, other.options), _facts(one), _facts(other)
    facts = {n: (mine[n], theirs[n]) for n in mine if mine[n] != theirs[n]}
    names = _names(one, other)
    apart = {name: None if reason else difference([other], [one], name) for name in names}
    return Comparison(one, other, reason, options, facts, apart)


def _names(one: Run, other: Run) -> list[str]:
    """The metrics that both runs have, without the loss where another metric equals it."""
    shared = [name for name in one.measured if name in other.measured]
    renamed = any(
        name != "loss" and all(run.estimate(name) == run.estimate("loss") for run in (one, other))
        for name in shared
    )
    return [name for name in shared if name != "loss" or not renamed]


def _read(folder: Path) -> Run:
    try:
        return read_run(folder)
    except UserError as error:
        raise UserError(f"{folder}: not the folder of a finished run: {error}") from error


def _facts(run: Run) -> dict[str, str]:
    versions = {k: v for k, v in run.summary.versions.items() if k != "mamlbench"}
    return {
        "seed": str(run.seed),
        "iterations done": "not recorded" if run.iterations is None else str(run.iterations),
        "device": run.summary.device,
        "code": run.short_code,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        "skipped outer steps": str(run.summary.train.skipped),
    }


def _configs(found: Comparison) -> Sheet:
    rows = [[name, *map(option_text, values)] for name, values in found.options.items()]
    same = [] if rows else ["their settings are the same"]
    rows += [[name, *values] for name, values in found.facts.items()]
    where = [f"A: {found.one.folder}", f"B: {found.other.folder}"]
    return Sheet("What differs in the configs", ("option", "A", "B"), rows, remarks=[*same, *where])


def _results(found: Comparison) -> Sheet:
    rows = []
    for name, apart in found.differences.items():
        estimates = (run.estimate(name) for run in (found.one, found.other))
        cells = [metrics.shown(name, e.mean, e.ci95) for e in estimates if e is not None]
        rows.append([metrics.label(name), *cells, difference_text(name, apart)])
    columns = ("test metric", "A", "B", "B − A, paired")
    return Sheet("Results", columns, rows, remarks=_remarks(found))


def _remarks(compared: Comparison) -> list[str]:
    one, other = compared.one, compared.other
    if compared.why_not is not None:
        return [f"not comparable task by task: {compared.why_not}"]
    paired = next((found for found in compared.differences.values() if found), None)
    if paired is None:
        lacking = [str(run.folder) for run in (one, other) if run.tests is None]
        no_file = f"no test_tasks.csv in {' and '.join(lacking)}"
        return [f"no paired interval: {no_file if lacking else _NO_SCORES}"]
    found = [f"paired over {paired.n_tasks:,} test tasks, 95% interval of the mean difference"]
    if None in compared.differences.values():
        found.append(f"–: {_NO_SCORES}")
    if one.seed != other.seed:
        found.append("the seeds differ: the interval is over tasks, not over seeds")
    found += [f"the tests differ in {name}" for name in tested_otherwise(one, other)]
    return found
