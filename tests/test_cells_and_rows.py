"""A cell's run is what its row and column say."""

import re

import pytest
from test_tables import NAMES, TABLES

from mamlbench.report.matching import setting_of_cell


@pytest.mark.parametrize("name", NAMES)
def test_a_cells_run_is_of_its_row_and_its_column(name):
    """Of so many ways and shots as the table says, and with transduction where it says so."""
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
