"""The tables' files are well formed, hold the published values, and find their runs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from published import PUBLISHED

from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError
from mamlbench.report.matching import setting_of_cell
from mamlbench.tables import TableRun, load_table

NAMES = ConfigTree().choices("table")
TABLES = {name: load_table(name) for name in NAMES}


def published(name: str) -> dict[tuple[str, str], str]:
    """The checked values of a table, by row and column."""
    _, header, text = PUBLISHED[name]
    columns = [column.strip() for column in header.split("|")]
    found = {}
    for line in text.strip().splitlines():
        row, *printed = [part.strip() for part in line.split("|")]
        found |= {(row, c): v for c, v in zip(columns, printed, strict=True) if v != "-"}
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_checked_value_stands_with_the_same_digits(name):
    cells = {(c.row, c.column): c for c in TABLES[name].cells if c.published and c.verified}
    expected = published(name)
    assert cells.keys() == expected.keys()
    for place, printed in expected.items():
        around = "" if "±" in printed else " ± "  # an unchecked interval of a checked value
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
    assert table.metric in ("accuracy", "mse", "return", "return_of_best_particle")
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


def test_runs_are_each_there_once():
    """A run written in two ways would run twice."""
    runs = list(dict.fromkeys(run for table in TABLES.values() for run in table.runs()))
    asked = {(run.experiment, frozenset(run.overrides), frozenset(run.evaluate)) for run in runs}
    assert len(asked) == len(runs)


def test_particles_of_bayesian_maml_go_as_far_however_many_they_are():
    """SVGD divides a step by the number of particles; the preset's rates are for 5 particles."""
    overrides = [cell.run.overrides for cell in TABLES["bmaml_mini_imagenet"].cells[4:]]
    for chosen in overrides:
        values = dict(override.removeprefix("algorithm.").split("=") for override in chosen)
        particles = int(values.get("particles", 5))
        assert float(values.get("inner_lr", 0.05)) / particles == pytest.approx(0.01)
        assert float(values.get("leader_lr", 0.003)) / particles == pytest.approx(0.0006)
    assert len(overrides) == 4


# --- reading ------------------------------------------------------------------------------------

SMALL = """
title: A table
paper: arXiv 0000.00000
place: Table 1
metric: accuracy
rows: [A, B]
columns: ["1", "5"]
each: {interval_kind: tasks95}
cells:
  - {row: A, column: "1", experiment: maml/sinusoid, step: 1, published: 48.70, interval: 1.80}
  - {row: A, column: "5", experiment: maml/sinusoid, evaluate: [evaluation.shots=20], step: 5}
  - {row: B, column: "1", published: 50, verified: false}
"""


@pytest.fixture
def small(tmp_path):
    """`small(old, new)`: a tree with the table SMALL, in which `new` replaces `old`."""
    (tmp_path / "table").mkdir()

    def tree(old: str = "", new: str = "") -> ConfigTree:
        assert old in SMALL
        (tmp_path / "table" / "small.yaml").write_text(SMALL.replace(old, new))
        return ConfigTree(["--config-dir", str(tmp_path)])

    return tree


def test_reading(small, tmp_path):
    table = load_table("small", small())
    first, second, third = table.cells
    trained = TableRun("maml/sinusoid", config_dir=tmp_path)
    assert first.published_text == "48.70 ± 1.80"
    assert (first.published, first.interval, first.interval_kind) == (48.7, 1.8, "tasks95")
    assert (first.run, first.step, first.metric) == (trained, 1, "accuracy")
    assert second.run == replace(trained, evaluate=("evaluation.shots=20",))
    assert second.run.trained == trained
    assert (second.published, second.published_text, second.interval_kind) == (None, "", None)
    assert (third.run, third.published_text, third.verified) == (None, "50", False)
    assert table.runs() == [trained, second.run]
    assert (table.seeds, table.kind) == ((0,), "table")
    assert [(cell.row, cell.column) for cell in table.cells[:2]] == [("A", "1"), ("A", "5")]


def test_a_cell_of_every_column(small):
    first = SMALL.splitlines()[-3]
    numbers = "published: [48.70, 5], interval: [1.80, null]"
    table = load_table(
        "small", small(first, f"  - {{row: A, experiment: maml/sinusoid, step: column, {numbers}}}")
    )
    found = [(c.column, c.step, c.published_text, c.interval_kind) for c in table.cells]
    assert found[:2] == [("1", 1, "48.70 ± 1.80", "tasks95"), ("5", 5, "5", None)]
    assert len(table.cells) == 4
    # a row ends with its list; a value that is no list applies to every column
    table = load_table("small", small(first, "  - {row: B, published: [50], step: 2}"))
    assert [(c.column, c.step, c.published_text) for c in table.cells[:1]] == [("1", 2, "50")]
    table = load_table("small", small(first, "  - {row: B, published: 50}"))
    assert [(c.column, c.published_text) for c in table.cells[:2]] == [("1", "50"), ("5", "50")]


def test_some_rows_and_seeds(small):
    table = load_table("small", small()).only(["B"], [3, 4])
    assert (table.rows, table.seeds, table.runs()) == (("B",), (3, 4), [])
    with pytest.raises(UserError, match=r"table\.rows=b: accepted is B"):
        table.only(["b"])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("place:", "plase:", r"plase: accepted is .*\(did you mean 'place'\?\)"),
        ("title: A table\n", "", "title: Table needs a value for it"),
        ('column: "5"', "column: 7", "cell 2: column=7: accepted is 1, 5"),
        (
            "published: 50",
            "published: fifty",
            "cell 3: published=fifty: accepted is a number, as it is printed",
        ),
        ("tasks95", "sd", "cell 1: interval_kind=sd: accepted is tasks95, seeds_sd, unstated"),
        ("step: 1,", "stop: 1,", r"cell 1: stop: .*\(did you mean 'step'\?\)"),
        ("metric:", "kind: graph\nmetric:", 'kind="graph": accepted is table, figure'),
        ("rows:", "rows: [", "YAML: "),
        ("metric:", "seeds: 0\nmetric:", "seeds=0: accepted is a list of whole numbers"),
        (
            "metric:",
            "seeds: [a]\nmetric:",
            r'seeds\[0\]=\["a"\]: accepted is a list of whole numbers',
        ),
        ("metric:", "footnotes: one\nmetric:", 'footnotes="one": accepted is a list of text'),
        ("each: {interval_kind: tasks95}", "each: null", "each: accepted is a mapping with row, "),
        ("cells:", "cells:\n  - words", "cell 1: accepted is a mapping with row, "),
        ("cells:", "cells: null\nfootnotes:", "cells=None: accepted is a list"),
        ("step: 1,", "overrides: a=b,", 'cell 1: overrides="a=b": accepted is a list of text'),
        ("step: 1,", "step: one,", 'cell 1: step="one": accepted is a whole number or null'),
        ("false", '"no"', 'cell 3: verified="no": accepted is true or false'),
        ("metric:", "seeds: []\nmetric:", r"seeds=\[\]: accepted is \[whole number, ...\]"),
        (
            'column: "1", published: 50',
            "published: [50, 51], interval: [1]",
            "cell 3: published has 2, interval has 1: accepted are as many of each, at most 2",
        ),
        (
            'column: "1", published: 50',
            "published: [1, 2, 3]",
            "cell 3: published has 3: accepted are as many of each, at most 2",
        ),
        (
            'column: "1", published: 50',
            "published: [1, two]",
            "cell 3: published=two: accepted is a number, as it is printed",
        ),
        (
            "published: 50",
            "published: [50]",
            r"cell 3: published=\['?50'?\]: accepted is a number, as it is printed",
        ),
        (
            'column: "5", experiment: maml/sinusoid, evaluate: [evaluation.shots=20], step: 5',
            "column: all, experiment: maml/sinusoid, step: column",
            "cell 2: step=column: accepted is a column that is a whole number, not all",
        ),
    ],
)
def test_a_broken_file_is_named(small, old, new, complaint):
    with pytest.raises(UserError, match=rf"table/small\.yaml: (cell \d: )?{complaint}"):
        load_table("small", small(old, new))


def test_an_unknown_table():
    with pytest.raises(UserError, match=r"table=maml_sinusiod: .*did you mean 'maml_sinusoid'"):
        load_table("maml_sinusiod")


@pytest.mark.parametrize("name", NAMES)
def test_a_cells_run_is_of_its_row_and_its_column(name):
    """It has the ways and shots that the table names, and transduction where the table says so."""
    for cell in TABLES[name].cells:
        said = re.search(
            r"(\d+)-way,? (\d+)-shot", f"{cell.column} {cell.row} {TABLES[name].title}"
        )
        if cell.run is None or said is None:
            continue
        options = setting_of_cell(cell.run).options
        shots = options["evaluation.shots"] or options["dataset.shots"]
        assert (options["dataset.ways"], shots) == (int(said[1]), int(said[2])), cell
        if "transductive" in cell.row:
            assert options["evaluation.transductive"], cell
        if f"{cell.row}, transductive" in TABLES[name].rows:
            assert not options["evaluation.transductive"], cell
