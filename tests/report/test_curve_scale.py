"""If percentages are crowded below 100, the axis is logarithmic in the error."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mamlbench.report.curve_plot import Curve, Named, plot


def drawn(metric, *means):
    """The axes of curves with these means, three points each."""
    x = np.arange(len(means[0]))
    curves = [Curve(x, np.array(mean), np.full(len(x), 1.0)) for mean in means]
    return plot(Figure(), metric, [Named(f"{i}", i, curve) for i, curve in enumerate(curves)])


def heights(axes, *values):
    """The heights of these values in the axes, from 0 to 1."""
    points = axes.transData.transform([(0.0, value) for value in values])
    return axes.transAxes.inverted().transform(points)[:, 1]


def test_good_ones_are_told_apart_beside_a_bad_one():
    axes = drawn("accuracy", [60.0, 30.0, 26.0], [90.0, 95.0, 97.6], [88.0, 95.0, 96.7])
    assert axes.get_yscale() == "function"
    low, worse, better, top = heights(axes, 26.0, 96.7, 97.6, 100.0)
    assert 0 < low < worse < better < top == pytest.approx(1.0)
    linear = (97.6 - 96.7) / (100 - 26.0)
    assert better - worse > 3 * linear
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "40",
        "60",
        "80",
        "90",
        "95",
        "98",
    ]


def test_a_perfect_score_has_a_place():
    axes = drawn("accuracy", [20.0, 40.0, 50.0], [90.0, 99.0, 100.0])
    assert heights(axes, 100.0) == pytest.approx(1.0)
    assert np.isfinite(heights(axes, 99.0, 100.0)).all()


@pytest.mark.parametrize(
    ("metric", "means"),
    [
        ("accuracy", ([95.0, 96.0, 97.0], [94.0, 95.0, 96.0])),
        ("accuracy", ([20.0, 40.0, 55.0], [30.0, 45.0, 50.0])),
        ("ece", ([20.0, 90.0, 99.0], [1.0, 2.0, 3.0])),
        ("return", ([-100.0, 20.0, 99.0], [90.0, 95.0, 99.0])),
        ("accuracy", ([np.nan, np.nan, np.nan],)),
    ],
)
def test_other_axes_are_linear(metric, means):
    assert drawn(metric, *means).get_yscale() == "linear"
