"""Tables of texts, as files have them."""

from mamlbench.report.sheets import Sheet, to_latex


def test_two_marks_are_not_one_number():
    text = to_latex([Sheet("Mine", ["row", "ours"], [["a", "0.5[1][2]"], ["b", "[0, 1]"]])])
    assert r"a & 0.5\textsuperscript{1,2} \\" in text
    assert "b & [0, 1] " in text
