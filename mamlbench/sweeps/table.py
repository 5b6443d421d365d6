"""`mamlbench -m table=NAME`: a table's training runs x seeds as the jobs of one sweep."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

from mamlbench.config.overrides import (
    command_line,
    key_and_value,
    key_of,
    list_of,
    over,
    parsed,
    quoted,
)
from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError
from mamlbench.tables import Table, load_table

_OPTIONS = ("table", "table.rows", "table.seeds")
_OF_A_CELL = ("experiment", "checkpoint", "also_test")


def arguments_of_table(arguments: Sequence[str]) -> list[str]:
    """Turn a table in the command line into the jobs of a sweep.

    `table.rows=[..]` and `table.seeds=[..]` select jobs; without the latter, `budget=smoke` runs
    only the table's first seed. Other typed overrides apply to every job and take precedence.

    Raises:
        UserError: a table, row or experiment does not exist, or `-m` is missing.
    """
    line = parsed(arguments)
    typed = {key_of(override): override for override in line.overrides}
    if "table" not in typed or line.cfg is not None or line.info is not None:
        return list(arguments)
    _, name = key_and_value(typed["table"])
    table = load_table(name, ConfigTree(arguments))
    if not line.multirun:
        again = command_line(["-m", *arguments])
        raise UserError(f"table={name}: is a sweep, which needs -m: {again}")
    for key in _OF_A_CELL:
        if key in typed:
            raise UserError(f"{typed[key]}: accepted is null, because table={name} brings its own")
    flags = [argument for argument in arguments if argument not in line.overrides]
    rest = [override for override in line.overrides if key_of(override) not in _OPTIONS]
    jobs = _jobs(_chosen(table, typed, rest), rest)
    # with the first job's overrides, so that Hydra finds the options of the typed overrides
    return [*flags, *over(jobs[0], rest), f"hydra.sweeper.jobs={quoted(jobs)}"]


def _chosen(table: Table, typed: dict[str, str], rest: Sequence[str]) -> Table:
    rows = list_of(typed["table.rows"], str) if "table.rows" in typed else None
    seeds = list_of(typed["table.seeds"], int) if "table.seeds" in typed else None
    if seeds is None and ("budget=smoke" in rest or "seed" in typed):
        seeds = list(table.seeds[:1])
    return table.only(rows, seeds)


def _jobs(table: Table, rest: Sequence[str]) -> list[list[str]]:
    """Overrides of each training run with each seed, with its additional tests as `also_test`."""
    parser = OverridesParser.create()
    fixed = [o for o in rest if not parser.parse_override(o).is_sweep_override()]
    jobs = []
    for seed in table.seeds:
        for run in table.runs():
            if run.evaluate:
                continue
            tests = [
                test.evaluate for test in table.runs() if test.evaluate and test.trained == run
            ]
            also = [f"also_test={quoted(tests)}"] if tests else []
            jobs.append(over([*run.arguments(seed), *also], fixed))
    if not jobs:
        raise UserError(f"table={table.name}: none of these rows has a run: all are published only")
    return jobs
