"""The reliability diagram of a classifier: its accuracy against its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from mamlbench.figures import style
from mamlbench.metrics import shown

Bins = Mapping[str, Sequence[float | None]]

_GAP = "#F0B48F"


def reliability_diagram(bins: Bins, ece: Mapping[str, float], out: Path) -> None:
    """Draw accuracy against confidence, one bar per bin, and below it each bin's share of queries.

    The gap between a bin's accuracy and its mean confidence is filled. Above the diagonal the
    learner is underconfident, below it overconfident.

    Args:
        bins: bins of equal width, as in summary.json: number of `queries`, their mean `confidence`
            and `accuracy` (None without queries).
        ece: `mean` and `ci95` of the expected calibration error.
        out: PNG file.
    """
    queries = np.array(bins["queries"], dtype=float)
    confidence = np.array(bins["confidence"], dtype=float)
    accuracy = np.array(bins["accuracy"], dtype=float)
    edges = np.linspace(0.0, 1.0, len(queries) + 1)
    bar: dict[str, Any] = {"align": "edge", "edgecolor": "white", "width": np.diff(edges)}
    with style.figure(out, 4.6, 5.2) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        above.bar(edges[:-1], accuracy, color=style.BLUE, **bar)
        gap = {"bottom": accuracy, "color": _GAP, "label": "gap to the confidence", **bar}
        above.bar(edges[:-1], confidence - accuracy, **gap)
        above.plot(confidence, accuracy, "o", ms=4, color=style.INK, label="accuracy")
        above.plot([0, 1], [0, 1], color=style.INK, lw=1.0, ls=(0, (4, 3)), label="calibrated")
        above.set_ylim(0.0, 1.0)
        above.set_title(f"ECE {shown('ece', ece['mean'], ece['ci95'])} %")
        above.legend(loc="upper left")
        below.bar(edges[:-1], queries / queries.sum(), color=style.MUTED, **bar)
        below.set_xlim(0.0, 1.0)
        below.set_xlabel("confidence (%)")
        _percent(above, "accuracy (%)")
        _percent(below, f"% of {queries.sum():,.0f} queries")


def _percent(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=None))
