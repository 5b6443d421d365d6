"""The tables' files: they are well formed, hold what was published, and find their runs."""

from __future__ import annotations

import pytest
from published import PUBLISHED

from mamlbench.compose import values
from mamlbench.config_tree import ConfigTree
from mamlbench.errors import UserError
from mamlbench.identity import identity
from mamlbench.tables import Cell, Table, TableRun, load_table

NAMES = ConfigTree().choices("table")
TABLES = {name: load_table(name) for name in NAMES}


def published(name: str) -> dict[tuple[str, str], str]:
    """The checked values of a table, by row and column."""
    _, header, text = PUBLISHED[name]
    columns = [column.strip() for column in header.split("|")]
    found = {}
    for line in text.strip().splitlines():
        row, *printed = [part.strip() for part in line.split("|")]
        found |= {(row, c): v for c, v in zip(columns, printed, strict=True) if v != "–"}
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_checked_value_stands_with_the_same_digits(name):
    cells = {(c.row, c.column): c for c in TABLES[name].cells if c.published and c.verified}
    expected = published(name)
    assert cells.keys() == expected.keys()
    for place, printed in expected.items():
        around = "" if "±" in printed else " ± "  # an interval from memory beside a checked value
        text = cells[place].published_text
        assert text == printed or (
            around and text.startswith(printed + around) and cells[place].note
        )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_checked_is_marked(name):
    expected = published(name) if name in PUBLISHED else {}
    for cell in TABLES[name].cells:
        if cell.published is not None:
            assert cell.verified == ((cell.row, cell.column) in expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_complete(name):
    table = TABLES[name]
    assert table.name == name
    assert table.metric in ("accuracy", "mse", "return")
    assert table.kind == ("figure" if table.x else "table")
    places = [(cell.row, cell.column) for cell in table.cells]
    assert len(set(places)) == len(places)
    assert {row for row, _ in places} == set(table.rows)
    for cell in table.cells:
        assert cell.run or cell.published or cell.note
        assert (cell.interval is None) == (cell.interval_kind is None)
        if table.x == "inner_steps":
            assert cell.column == str(cell.step) or cell.run is None


@pytest.mark.parametrize("name", NAMES)
def test_experiments_of_a_table_exist(name):
    experiments = set(ConfigTree().choices("experiment"))
    assert {run.experiment for run in TABLES[name].runs()} <= experiments


@pytest.mark.parametrize("name", NAMES)
def test_different_cells_are_different_runs(name):
    """Two ways to ask for one run would do it twice."""
    runs = TABLES[name].runs()
    some = [run for run in runs if run.overrides or run.evaluate][:4]
    identities = [run.identity for run in dict.fromkeys([*some, *(r.trained for r in some)])]
    assert len(set(identities)) == len(identities)
