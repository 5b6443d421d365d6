"""The reliability diagram shows the given numbers."""

from __future__ import annotations

import pytest

from mamlbench.figures.reliability import reliability_diagram


def test_bars_points_and_counts(tmp_path, drawn):
    bins = {
        "queries": [0.0, 30.0, 0.0, 10.0],
        "confidence": [None, 0.4, None, 0.9],
        "accuracy": [None, 0.5, None, 0.6],
    }
    out = tmp_path / "figures" / "reliability.png"
    reliability_diagram(bins, {"mean": 0.15, "ci95": 0.02}, out)
    assert out.read_bytes().startswith(b"\x89PNG")
    above, below = drawn[0].axes
    assert above.get_title(loc="left") == "ECE 15.00 ± 2.00 %"
    accuracy, gap = above.containers
    assert [bar.get_height() for bar in accuracy][1::2] == [0.5, 0.6]
    assert [bar.get_height() for bar in gap][1::2] == pytest.approx([-0.1, 0.3])
    assert [bar.get_y() for bar in gap][1::2] == [0.5, 0.6]
    assert [bar.get_x() for bar in accuracy] == [0.0, 0.25, 0.5, 0.75]
    points = above.lines[0]
    assert points.get_xdata()[1::2].tolist() == [0.4, 0.9]
    assert points.get_ydata()[1::2].tolist() == [0.5, 0.6]
    [counts] = below.containers
    assert [bar.get_height() for bar in counts] == [0.0, 0.75, 0.0, 0.25]
    assert below.get_ylabel() == "% of 40 queries"
