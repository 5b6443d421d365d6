"""The CSV of a report: digits and types, for other programs."""

from __future__ import annotations

import csv
import io

import kept
import pytest

from mamlbench.report.compare import compare
from mamlbench.report.matching import match
from mamlbench.report.paper_tables import paper_table
from mamlbench.report.runs import read_run
from mamlbench.report.table_csv import comparison_to_csv, to_csv
from mamlbench.tables import Cell, Printed, Table, TableRun


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def rows(tmp_path, sinusoid):
    """Two cells with a run and one without; two have a published value."""
    asked = TableRun("maml/sinusoid", ("evaluation.tasks=4",))
    cells = (
        Cell("MAML", "1", asked, "mse", 1, Printed("5.60"), Printed("0.10"), "tasks95"),
        Cell("MAML", "last", asked, "mse"),
        Cell("another", "1", None, "mse", published=Printed("-12")),
    )
    names = ("mine", "Mine", "arXiv 1", "Table 1", "mse", ("MAML", "another"), ("1", "last"))
    table = Table(*names, cells=cells)
    run = read_run(kept.keep(tmp_path / "a", sinusoid(), kept.SCORES / 3))
    return rows_of(to_csv([paper_table(table, match([table], [run]))], []))


def test_published_numbers_have_the_digits_that_are_printed(rows):
    assert [row["published"] for row in rows] == ["5.60", "", "-12"]
    assert [row["published_interval"] for row in rows] == ["0.10", "", ""]


def test_counts_are_whole_numbers(rows):
    assert [row["step"] for row in rows] == ["1", "", ""]
    assert [row["test_tasks"] for row in rows] == ["4", "4", ""]
    assert [row["iterations"] for row in rows] == ["70000", "70000", ""]
    assert [row["iterations_asked"] for row in rows] == ["70000", "70000", ""]
    assert [row["verified"] for row in rows] == ["True"] * 3


def test_ours_is_not_rounded(rows):
    # the mean of 0.5, 0.7, 0.9 and 0.5, and of 0.3, 0.5, 0.4 and 0.4, over 3
    measured = [float(row["ours"]) for row in rows[:2]]
    assert measured == pytest.approx([0.65 / 3, 0.4 / 3], rel=1e-12)
    assert rows[2]["ours"] == ""
    assert float(rows[0]["difference"]) == pytest.approx(0.65 / 3 - 5.6, rel=1e-12)


def test_the_tasks_of_a_comparison_are_a_whole_number(tmp_path, sinusoid):
    for name, rate in (("a", 0.01), ("b", 0.02)):
        kept.keep(tmp_path / name, sinusoid(algorithm__inner_lr=rate))
    found = rows_of(comparison_to_csv(compare(tmp_path / "a", tmp_path / "b")))
    assert [row["tasks"] for row in found] == ["", "", "4"]
