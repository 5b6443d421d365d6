"""Tables of texts, as files have them."""

from mamlbench.report.page import _marked
from mamlbench.report.sheets import Sheet, to_latex


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
