"""The papers' tables and figures: which runs make each cell, and what was published there.

A table is `conf/table/<name>.yaml`:

    name: maml_sinusoid
    title: MAML, Table 2: sinusoids, 5-shot, MSE
    paper: arXiv 1703.03400
    place: Table 2            # where in the paper
    kind: table               # or figure: rows are its curves, columns what is along its x axis
    x: null                   # of a figure: inner_steps; iterations, labels (column: all); words
    metric: mse               # accuracy is published in percent
    seeds: [0]                # of every cell
    footnotes: []
    rows: [MAML]              # in order
    columns: ["1", "5", "10"] # in order
    cells:
      - row: MAML
        column: "1"
        experiment: maml/sinusoid     # in conf/experiment; null: published only
        overrides: [dataset.shots=5]  # beside the experiment
        evaluate: []                  # how the trained learner is tested otherwise
        metric: mse                   # where it is not the table's
        step: 1                       # after how many inner steps; null: after the last
        published: 0.67               # as printed, trailing zeros too; null: there is no number
        interval: null                # the printed plus-minus
        interval_kind: null           # tasks95, seeds_sd or unstated
        verified: true                # false: no copy or quotation of the paper was there
        note: null                    # a remark on this cell

Of a figure over `iterations` a row is the curve in its run's `metrics.csv`, over `labels` that in
its `summary.json`; over anything else each column is a point, of a run or an inner step.

What most cells share can be said once, under `each:`. Cells of equal experiment and overrides share
one training run, and with equal `evaluate` one test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import yaml

from mamlbench.config_tree import ConfigTree
from mamlbench.errors import UserError, did_you_mean

KINDS = ("table", "figure")
INTERVAL_KINDS = ("tasks95", "seeds_sd", "unstated")


class Printed(float):
    """A number that remembers the digits it was written with.

    Attributes:
        text: those digits.
    """

    text: str

    def __new__(cls, text: str) -> Printed:
        """The number that `text` writes."""
        number = super().__new__(cls, text)
        number.text = text
        return number


@dataclass(frozen=True)
class TableRun:
    """One training run of a table or, with `evaluate`, another test of what it has learned.

    Attributes:
        experiment: name in `conf/experiment`.
        overrides: beside it, those of the whole table (say `budget=smoke`) last.
        evaluate: overrides of the other test; none, for the training run and its own test.
    """

    experiment: str
    overrides: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()

    @property
    def trained(self) -> TableRun:
        """The training run, whose checkpoint this one tests; itself, where it trains."""
        return TableRun(self.experiment, self.overrides)

    def arguments(self, seed: int) -> list[str]:
        """What to type after `mamlbench` for the training run (without `evaluate`)."""
        return [f"experiment={self.experiment}", *self.overrides, f"seed={seed}"]


@dataclass(frozen=True)
class Cell:
    """One number of a table, or one point or curve of a figure.

    Attributes:
        row, column: names of its place.
        run: what makes our number; None where only the published one is shown.
        metric: as `summary.json` names it.
        step: inner steps at meta-test whose score it is; None: the last.
        published: as printed, accuracy in percent; None where the paper has no number.
        interval: the printed plus-minus.
        interval_kind: `tasks95` (95% over test tasks), `seeds_sd` (standard deviation over seeds),
            `unstated`; None without an interval.
        verified: whether the published value was checked, against a copy of the paper or of the
            data behind it, or against others that quote it.
        note: a remark on this cell.
    """

    row: str
    column: str
    run: TableRun | None
    metric: str
    step: int | None = None
    published: Printed | None = None
    interval: Printed | None = None
    interval_kind: str | None = None
    verified: bool = True
    note: str | None = None

    @property
    def published_text(self) -> str:
        """The published value and its plus-minus, digit by digit; empty where there is none."""
        if self.published is None:
            return ""
        around = "" if self.interval is None else f" ± {self.interval.text}"
        return self.published.text + around


@dataclass(frozen=True)
class Table:
    """One table or figure of a paper; see the module for the fields of its file.

    Attributes:
        cells: in the order of the file; a place of rows x columns may have none.
    """

    name: str
    title: str
    paper: str
    place: str
    metric: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...] = (0,)
    footnotes: tuple[str, ...] = ()
    kind: str = "table"
    x: str | None = None

    def runs(self) -> list[TableRun]:
        """All different runs, in the order of the cells; a training run before tests of it."""
        found: dict[TableRun, None] = {}
        for cell in self.cells:
            if cell.run is not None:
                found.setdefault(cell.run.trained)
                found.setdefault(cell.run)
        return list(found)

    def only(self, rows: Iterable[str] | None = None, seeds: Iterable[int] | None = None) -> Table:
        """The same with these rows, these seeds.

        Raises:
            UserError: a row that it does not have.
        """
        kept = list(self.rows if rows is None else rows)
        for row in kept:
            if row not in self.rows:
                accepted = ", ".join(self.rows) + did_you_mean(row, self.rows)
                raise UserError(f"table.rows={row}: accepted is {accepted}")
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Table(
            **values
            | {
                "rows": tuple(row for row in self.rows if row in kept),
                "cells": tuple(cell for cell in self.cells if cell.row in kept),
                "seeds": self.seeds if seeds is None else tuple(seeds),
            }
        )


def load_table(name: str, overrides: Sequence[str] = (), tree: ConfigTree | None = None) -> Table:
    """The table of `conf/table/<name>.yaml`.

    Args:
        name: of the file.
        overrides: what every run of it gets besides, such as `budget=smoke`.
        tree: where to look (None: mamlbench's own configs).

    Raises:
        UserError: there is no such table (the nearest names are given), or it is not well formed.
    """
    tree = ConfigTree() if tree is None else tree
    text = tree.text(f"table/{name}")
    if not text:
        names = tree.choices("table")
        raise UserError(f"table={name}: accepted is {', '.join(names)}{did_you_mean(name, names)}")
    place = f"table/{name}.yaml"
    try:
        values = yaml.load(text, _Reader)
    except yaml.YAMLError as error:
        raise UserError(f"{place}: YAML: " + " ".join(str(error).split())) from error
    return _table(values, overrides, place)


@cache
def load_tables() -> tuple[Table, ...]:
    """All of mamlbench's own tables, by name."""
    return tuple(load_table(name) for name in ConfigTree().choices("table"))


_RUN = ("experiment", "overrides", "evaluate")
_CELL = (*(field.name for field in fields(Cell) if field.name != "run"), *_RUN)


class _Reader(yaml.SafeLoader):
    """YAML whose decimal numbers remember their digits."""


def _with_digits(reader: _Reader, node: yaml.ScalarNode) -> Printed:
    return Printed(str(reader.construct_scalar(node)))


_Reader.add_constructor("tag:yaml.org,2002:float", _with_digits)


def _table(values: Any, overrides: Sequence[str], place: str) -> Table:
    known = [field.name for field in fields(Table)]
    values = _known(values, [*known, "each"], place)
    each = _known(values.pop("each", {}), _CELL, f"{place}: each")
    for name in ("name", "title", "paper", "place", "metric", "rows", "columns", "cells"):
        if name not in values:
            raise UserError(f"{place}: has no {name}")
    if values.get("kind", "table") not in KINDS:
        raise UserError(f"{place}: kind={values['kind']}: accepted is {', '.join(KINDS)}")
    for name in ("rows", "columns", "cells", "seeds", "footnotes"):
        if not isinstance(values.get(name, []), list):
            raise UserError(f"{place}: {name}={values[name]}: accepted is a list")
    seeds = values.get("seeds", [0])
    if not seeds or any(type(seed) is not int for seed in seeds):
        raise UserError(f"{place}: seeds={seeds}: accepted is [whole number, ...]")
    values["rows"], values["columns"] = _texts(values["rows"]), _texts(values["columns"])
    cells = []
    for number, cell in enumerate(values["cells"], 1):
        here = f"{place}: cell {number}"
        own = _known(cell, _CELL, here)
        cells.append(_cell({"metric": values["metric"], **each, **own}, overrides, here))
    for number, cell in enumerate(cells, 1):
        for side, accepted in (("row", values["rows"]), ("column", values["columns"])):
            found = getattr(cell, side)
            if found not in accepted:
                raise UserError(
                    f"{place}: cell {number}: {side}={found}: accepted is {', '.join(accepted)}"
                )
    values["seeds"] = tuple(seeds)
    values["footnotes"] = _texts(values.get("footnotes", []))
    return Table(**values | {"cells": tuple(cells)})


def _cell(values: dict[str, Any], overrides: Sequence[str], place: str) -> Cell:
    for name in ("row", "column"):
        if name not in values:
            raise UserError(f"{place}: has no {name}")
        values[name] = str(values[name])
    experiment, *more = (values.pop(name, None) for name in _RUN)
    for name, texts in zip(_RUN[1:], more, strict=True):
        if not isinstance(texts or [], list):
            raise UserError(f"{place}: {name}={texts}: accepted is a list")
    beside, evaluate = (_texts(texts or []) for texts in more)
    run = None if experiment is None else TableRun(experiment, (*beside, *overrides), evaluate)
    for name in ("published", "interval"):
        if values.get(name) is not None:
            values[name] = _printed(values[name], f"{place}: {name}")
    kind = values.get("interval_kind")
    if values.get("interval") is None:
        values["interval_kind"] = None  # said for each cell, of those that have one
    elif kind not in INTERVAL_KINDS:
        accepted = ", ".join(INTERVAL_KINDS)
        raise UserError(f"{place}: interval_kind={kind}: accepted is {accepted}")
    return Cell(**values, run=run)


def _known(values: Any, accepted: Sequence[str], place: str) -> dict[str, Any]:
    """A copy of a mapping that has no other keys."""
    if not isinstance(values, Mapping):
        raise UserError(f"{place}: accepted is a mapping with {', '.join(accepted)}")
    for name in values:
        if name not in accepted:
            near = did_you_mean(str(name), accepted)
            raise UserError(f"{place}: {name}: accepted is {', '.join(accepted)}{near}")
    return dict(values)


def _printed(value: Any, place: str) -> Printed:
    if isinstance(value, Printed):
        return value
    try:
        return Printed(str(value))
    except ValueError as error:
        raise UserError(f"{place}={value}: accepted is a number, as it is printed") from error


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(v.text if isinstance(v, Printed) else str(v) for v in values)
