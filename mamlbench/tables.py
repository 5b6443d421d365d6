"""The papers' tables and figures: which run fills each cell, and what the paper published there.

A table is `conf/table/<name>.yaml`, in mamlbench's configs or in a user's own folder:

    title: MAML, Table 2: sinusoids, 5-shot, MSE
    paper: arXiv 1703.03400
    place: Table 2            # where in the paper
    kind: table               # or figure: rows are its curves, columns its x values
    x: null                   # x axis of a figure: inner_steps, iterations, labels or other words
    metric: mse               # accuracy is published in percent
    seeds: [0]                # of every cell
    footnotes: []
    rows: [MAML]              # in order
    columns: ["1", "5", "10"] # in order; [all] if x is iterations or labels
    cells:
      - row: MAML
        column: "1"                   # if omitted: every column, see below
        experiment: maml/sinusoid     # in conf/experiment; null: published only
        overrides: [dataset.shots=5]  # in addition to the experiment
        evaluate: []                  # overrides for another test of the trained learner
        metric: mse                   # if it is not the table's
        step: 1                       # after how many inner steps; null: after the last
        published: 0.67               # as printed, with trailing zeros; null: no number
        interval: null                # the printed ±
        interval_kind: null           # tasks95, seeds_sd or unstated
        verified: true                # false: not checked against the paper or a quotation of it
        note: null                    # a remark on this cell

In a figure over `iterations`, a row is the curve in its run's `metrics.csv`; over `labels`, the
curve in its `summary.json`. Otherwise each column is a point, from a run or an inner step.

Values that most cells share can be given once, under `each:`. A cell without `column` stands for
every column, in order: its `published` and `interval` may be lists of equal length, and the row
ends where they end. `step: column` means the column's number. Cells with equal `experiment` and
`overrides` share one training run; with equal `evaluate` they also share one test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from mamlbench.config.build import construct, plain
from mamlbench.config.tree import ConfigTree, own_root
from mamlbench.errors import BadValue, UserError, did_you_mean, one_of, require

KINDS = {
    "tasks95": "95% over tasks",
    "seeds_sd": "sd over seeds",
    "unstated": "kind not stated",
}
"""Kinds of printed ±, in words."""


class Printed(float):
    """A number that remembers the digits it was written with.

    Attributes:
        text: those digits.
    """

    text: str

    def __new__(cls, text: str) -> Printed:
        """The number written as `text`."""
        number = super().__new__(cls, text)
        number.text = text
        return number


@dataclass(frozen=True)
class TableRun:
    """One training run of a table or, with `evaluate`, another test of its trained learner.

    Attributes:
        experiment: name in `conf/experiment`.
        overrides: in addition to the experiment.
        evaluate: overrides for the other test; empty for the training run and its own test.
        config_dir: for a user's own table, the folder of configs that extends mamlbench's.
    """

    experiment: str
    overrides: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()
    config_dir: Path | None = None

    @property
    def trained(self) -> TableRun:
        """The training run whose checkpoint this run tests; itself if it trains."""
        return replace(self, evaluate=())

    def arguments(self, seed: int) -> list[str]:
        """The arguments of `mamlbench` for the training run (without `evaluate`)."""
        return [f"experiment={self.experiment}", *self.overrides, f"seed={seed}"]


@dataclass(frozen=True)
class Cell:
    """One number of a table, or one point or curve of a figure.

    Attributes:
        row, column: their names.
        run: the run that gives our number; None if only the published one is shown.
        metric: as `summary.json` names it.
        step: scored after this many inner steps at meta-test; None: after the last.
        published: as printed, accuracy in percent; None if the paper has no number.
        interval: the printed ±.
        interval_kind: one of `KINDS`; None without an interval.
        verified: whether the published value was checked against a copy of the paper, the data
            behind it or publications that quote it.
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
        """The published value and its ±, with the printed digits; empty if there is none."""
        if self.published is None:
            return ""
        around = "" if self.interval is None else f" ± {self.interval.text}"
        return self.published.text + around


@dataclass(frozen=True)
class Table:
    """One table or figure of a paper; see the module for the fields of its file.

    Attributes:
        name: of its file.
        cells: in the order of the file; not every row and column needs a cell.
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
    kind: Literal["table", "figure"] = "table"
    x: str | None = None

    def runs(self) -> list[TableRun]:
        """All distinct runs in the order of the cells; a training run precedes its tests."""
        found: dict[TableRun, None] = {}
        for cell in self.cells:
            if cell.run is not None:
                found.setdefault(cell.run.trained)
                found.setdefault(cell.run)
        return list(found)

    def only(self, rows: Iterable[str] | None = None, seeds: Iterable[int] | None = None) -> Table:
        """The table with only these rows and seeds (None: all).

        Raises:
            UserError: the table has no such row.
        """
        kept = list(self.rows if rows is None else rows)
        for row in kept:
            if row not in self.rows:
                accepted = ", ".join(self.rows) + did_you_mean(row, self.rows)
                raise UserError(f"table.rows={row}: accepted is {accepted}")
        return replace(
            self,
            rows=tuple(row for row in self.rows if row in kept),
            cells=tuple(cell for cell in self.cells if cell.row in kept),
            seeds=self.seeds if seeds is None else tuple(seeds),
        )


def load_table(name: str, tree: ConfigTree | None = None) -> Table:
    """The table of `conf/table/<name>.yaml`.

    Args:
        name: of the file.
        tree: where to look (None: mamlbench's own configs).

    Raises:
        UserError: the table is malformed or does not exist; then the message gives similar names.
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
    root = next(root for root in tree.roots if (root / place).is_file())
    with _mistakes_in(place):
        return _table(name, values, None if root == own_root() else root.absolute())


def load_tables(tree: ConfigTree | None = None) -> tuple[Table, ...]:
    """All tables, by name: mamlbench's own and, with a tree, also those in a user's folder.

    Raises:
        UserError: a table is malformed.
    """
    own = _own_tables()
    names = own if tree is None else tree.choices("table")
    return tuple(own[name] if name in own else load_table(name, tree) for name in names)


@cache
def _own_tables() -> Mapping[str, Table]:
    return {name: load_table(name) for name in ConfigTree().choices("table")}


_RUN = ("experiment", "overrides", "evaluate")
_CELL = (*(field.name for field in fields(Cell) if field.name != "run"), *_RUN)


class _Reader(yaml.SafeLoader):
    """A YAML loader whose decimal numbers remember their digits."""


def _with_digits(reader: _Reader, node: yaml.ScalarNode) -> Printed:
    return Printed(str(reader.construct_scalar(node)))


_Reader.add_constructor("tag:yaml.org,2002:float", _with_digits)


def _table(name: str, values: Any, config_dir: Path | None) -> Table:
    options = [field.name for field in fields(Table) if field.name != "name"]
    values = _known(values, [*options, "each"])
    with _mistakes_in("each"):
        each = _known(values.pop("each", {}), _CELL)
    for option in ("rows", "columns", "footnotes"):
        if option in values:
            values[option] = _texts(values[option])
    cells, listed = [], values.pop("cells", None)
    if not isinstance(listed, list):
        raise UserError(f"cells={listed}: accepted is a list")
    table = construct(Table, plain(values), "", name=name, cells=())
    require(bool(table.seeds), "seeds", list(table.seeds), "[whole number, ...]")
    for number, said in enumerate(listed, 1):
        with _mistakes_in(f"cell {number}"):
            said = {"metric": table.metric, **each, **_known(said, _CELL)}
            for of_column in _of_columns(said, table.columns):
                cell = _cell(of_column, config_dir)
                one_of("row", cell.row, table.rows)
                one_of("column", cell.column, table.columns)
                cells.append(cell)
    return replace(table, cells=tuple(cells))


def _of_columns(values: dict[str, Any], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The values of a cell; without a column, those of each column, as far as its lists go."""
    if "column" in values:
        yield values
        return
    named = {name: values.get(name) for name in ("published", "interval")}
    lists = {name: numbers for name, numbers in named.items() if isinstance(numbers, list)}
    lengths = {len(numbers) for numbers in lists.values()}
    if len(lengths) > 1 or not lengths.issubset(range(1, len(columns) + 1)):
        found = ", ".join(f"{name} has {len(numbers)}" for name, numbers in lists.items())
        raise UserError(f"{found}: accepted are as many of each, at most {len(columns)}")
    for place, column in enumerate(columns[: min(lengths, default=len(columns))]):
        of_column = {name: numbers[place] for name, numbers in lists.items()}
        yield {**values, **of_column, "column": column}


def _cell(values: dict[str, Any], config_dir: Path | None) -> Cell:
    made_by = {name: _texts(values.pop(name)) for name in _RUN if name in values}
    trains = made_by.get("experiment") is not None
    run = construct(TableRun, made_by, "", config_dir=config_dir) if trains else None
    for name in {"row", "column"} & values.keys():
        values[name] = _text(values[name])
    if values.get("step") == "column":
        column = str(values.get("column"))
        if not column.isdecimal():
            accepted = f"a column that is a whole number, not {column}"
            raise UserError(f"step=column: accepted is {accepted}")
        values["step"] = int(column)
    for name in {"published", "interval"} & values.keys():
        values[name] = _printed(name, values[name])
    if values.get("interval") is None:
        values["interval_kind"] = None  # `each` gives it to cells without an interval too
    cell = construct(Cell, values, "", run=run)
    if cell.interval is not None:
        one_of("interval_kind", str(cell.interval_kind), KINDS)
    return cell


@contextmanager
def _mistakes_in(place: str) -> Iterator[None]:
    """Prefix the messages of errors with the place of the mistake."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _known(values: Any, accepted: Sequence[str]) -> dict[str, Any]:
    """A copy of a mapping, after a check that it has only accepted keys."""
    if not isinstance(values, Mapping):
        raise UserError(f"accepted is a mapping with {', '.join(accepted)}")
    for name in values:
        if name not in accepted:
            near = did_you_mean(str(name), accepted)
            raise UserError(f"{name}: accepted is {', '.join(accepted)}{near}")
    return dict(values)


def _printed(name: str, value: Any) -> Printed | None:
    try:
        return value if value is None or isinstance(value, Printed) else Printed(str(value))
    except ValueError as error:
        raise BadValue(name, value, "a number, as it is printed") from error


def _texts(values: Any) -> Any:
    """The items of a list as texts; anything else unchanged, to be refused later."""
    return tuple(map(_text, values)) if isinstance(values, list) else values


def _text(value: Any) -> str:
    return value.text if isinstance(value, Printed) else str(value)
