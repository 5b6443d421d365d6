"""Tables of texts in files and on terminals."""

import io
import re

import kept
import pytest
from rich.console import Console

from mamlbench.report.matching import match
from mamlbench.report.page import page
from mamlbench.report.paper_tables import paper_table
from mamlbench.report.report import Report
from mamlbench.report.runs import collect
from mamlbench.report.sheets import Marked, Sheet, print_result_table, to_latex, to_markdown
from mamlbench.tables import Cell, Table, TableRun


def test_two_marks_are_not_one_number():
    rows = [["a", Marked("0.5", (1, 2))], ["b", "[0, 1]"]]
    text = to_latex([Sheet("Mine", ["row", "ours"], rows)])
    assert r"a & 0.5\textsuperscript{1,2} \\" in text
    assert "b & [0, 1] " in text


@pytest.mark.parametrize("name", ["MAML [12]", "maml hidden=[40]"])
def test_a_number_in_a_name_is_no_mark(tmp_path, sinusoid, name):
    """Neither in the table nor in the differences, which mark rows with several results."""
    for number in range(2):
        scores, code = kept.SCORES * (1 + number), str(number) * 40
        kept.keep(tmp_path / str(number), sinusoid(), scores, commit=code)
    row = Cell(name, "1", TableRun("maml/sinusoid", ("evaluation.tasks=4",)), "mse", 1)
    mine = Table("mine", "Mine", "arXiv 1", "Table 1", "mse", (name,), ("1",), (row,))
    runs, skipped = collect([tmp_path])
    paper = paper_table(mine, match([mine], runs))
    sheets = paper.sheets()
    assert f"| {name} " in to_markdown(sheets)
    assert f"| {name}[2] " in to_markdown(sheets)
    assert f"\n{name} & 1 & " in to_latex(sheets)
    assert f"\n{name}\\textsuperscript{{2}} & 1 & " in to_latex(sheets)
    html = page(Report((paper,), (), tuple(runs), tuple(skipped), (mine,)))
    assert f">{name}</th>" in html
    linked = f'{name}<sup><a class="mark" href="#table-mine-note2" aria-label="note 2">2</a></sup>'
    assert linked in html
    assert not re.search('href="#table-mine-note(?![12]")', html)


def console(terminal, width=100):
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, _environ={}
    )


def test_a_table_that_is_piped_is_markdown_and_never_cut():
    out = console(terminal=False, width=10)
    print_result_table("Test MSE", ["steps", "0", "10"], [["mse [K=5]", "3.10 ± 0.20", 0.5]], out)
    assert out.file.getvalue() == (
        "Test MSE\n\n"
        "| steps     |           0 |  10 |\n"
        "| --------- | ----------: | --: |\n"
        "| mse [K=5] | 3.10 ± 0.20 | 0.5 |\n"
    )


def test_a_table_on_a_terminal_has_every_cell():
    out = console(terminal=True)
    print_result_table("Test [MSE]", ["steps", "0"], [["mse", "3.10 ± 0.20"]], out)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", out.file.getvalue())
    for text in ("Test [MSE]", "steps", "│ mse   │ 3.10 ± 0.20 │"):
        assert text in shown
