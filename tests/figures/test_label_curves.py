"""The curves of active learning show the given numbers."""

from __future__ import annotations

import pytest

from mamlbench.figures.label_curves import label_curves


def entry(**means):
    return {name: {"accuracy": {"mean": m, "ci95": 0.01}} for name, m in means.items()}


def test_both_choices_and_their_difference(tmp_path, drawn):
    curve = [
        entry(uncertainty=0.5, random=0.5, difference=0.0),
        entry(uncertainty=0.7, random=0.6, difference=0.1),
    ]
    label_curves(curve, "accuracy", tmp_path / "a.png")
    choices, difference = drawn[0].axes
    shown = {line.get_label(): line for line in choices.lines}
    assert shown["a random point"].get_ydata() == pytest.approx([50.0, 60.0])
    assert shown["the most uncertain point"].get_ydata() == pytest.approx([50.0, 70.0])
    assert shown["a random point"].get_xdata().tolist() == [0, 1]
    band = choices.collections[0].get_datalim(choices.transData)
    assert (band.ymin, band.ymax) == pytest.approx((49.0, 61.0))
    assert difference.lines[0].get_ydata() == pytest.approx([0.0, 10.0])
    assert difference.get_ylabel() == "difference in accuracy (%)"


def test_random_choice_alone(tmp_path, drawn):
    label_curves([entry(random=0.5), entry(random=0.6)], "accuracy", tmp_path / "a.png")
    [axes] = drawn[0].axes
    assert [line.get_label() for line in axes.lines] == ["a random point"]
