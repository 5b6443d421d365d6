"""Tables of texts, as files and terminals have them."""

import io
import re

from rich.console import Console

from mamlbench.report.page import _marked
from mamlbench.report.sheets import Sheet, print_result_table, to_latex


def test_two_marks_are_not_one_number():
    text = to_latex([Sheet("Mine", ["row", "ours"], [["a", "0.5[1][2]"], ["b", "[0, 1]"]])])
    assert r"a & 0.5\textsuperscript{1,2} \\" in text
    assert "b & [0, 1] " in text


def test_a_value_in_a_name_is_no_mark():
    names = ["maml hidden=[40]", "maml hidden=[40][2]"]
    text = to_latex([Sheet("Mine", ["row", "ours"], [[name, "1"] for name in names])])
    assert "\nmaml hidden=[40] & 1" in text
    assert "\nmaml hidden=[40]\\textsuperscript{2} & 1" in text
    shown = [_marked(name) for name in names]
    assert shown == [
        {"text": "maml hidden=[40]", "marks": []},
        {"text": "maml hidden=[40]", "marks": ["2"]},
    ]


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
