"""The common style of all figures."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from mamlbench.files import write_atomically
from mamlbench.metrics import axis_label, scale

# Okabe and Ito's palette, distinguishable with any colour vision
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, MUTED, GRID = "#222222", "#7A7A7A", "#E4E4E4"

STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlepad": 8,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.direction": "out",
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
}

CURVES = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#882255")
"""Colours of several curves in one figure."""

_IN_PAGES: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "mamlbench"}
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid"} | {
    colour: f"curve{number}" for number, colour in enumerate(CURVES)
}

_OF_A_FILE = (
    r"(?s)<metadata>.*?</metadata>",
    r' (?:width|height)="[\d.]+pt"',
    r' id="(?:figure|axes|patch|matplotlib|line2d|text|xtick|ytick|legend)[^"]*"',
)

POINTS: dict[str, Any] = {
    "ls": "",
    "marker": "^",
    "ms": 7,
    "mec": "white",
    "color": ORANGE,
    "zorder": 5,
}
"""Style of the points that a learner was given."""

TRUTH: dict[str, Any] = {"color": INK, "lw": 1.2, "ls": (0, (4, 3))}
"""Style of the truth that it should find."""


@contextmanager
def figure(out: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of `width` x `height` inches, written to `out` as PNG when the block ends.

    Raises:
        UserError: the disk is full or `out` is not writable; no partial file is left.
    """
    with matplotlib.style.context(["default", STYLE]):
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn
        png = io.BytesIO()
        drawn.savefig(png, format="png")
    write_atomically(out, png.getvalue())


@contextmanager
def task_panels(tasks: int, width: float, height: float, out: Path) -> Iterator[list[Axes]]:
    """A figure with one panel per task, at most three in a row; x and y are named at the edges.

    Args:
        tasks: number of tasks.
        width: of a panel, inches.
        height: of a panel, inches.
        out: PNG file; see `figure`.
    """
    lines = -(-tasks // 3)
    columns = -(-tasks // lines)
    with figure(out, max(5.2, 0.6 + width * columns), 0.7 + height * lines) as drawn:
        grid = drawn.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        yield panels[:tasks]
        for place, axes in enumerate(panels):
            if place >= tasks:
                axes.set_axis_off()
                continue
            if place + columns >= tasks:
                axes.set_xlabel("x")
                axes.tick_params(labelbottom=True)
            if place % columns == 0:
                axes.set_ylabel("y")


def svg(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    """A figure as an `<svg>` element for a page, coloured by the page's CSS variables.

    Args:
        width: inches.
        height: inches.
        draw: draws the content into the figure.
    """
    with matplotlib.style.context(["default", STYLE, _IN_PAGES]):
        drawn = Figure(figsize=(width, height), layout="constrained")
        draw(drawn)
        text = io.StringIO()
        drawn.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    element = text.getvalue()
    element = element[element.index("<svg") :]
    for removed in _OF_A_FILE:  # a page has several figures and sets their size
        element = re.sub(removed, "", element)
    for colour, variable in _VARIABLES.items():
        element = element.replace(colour.lower(), f"var(--{variable})")
    return element


def count_axis(axes: Axes, label: str) -> None:
    """Make x an axis of whole numbers, with a comma for thousands."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def metric_axis(axes: Axes, metric: str) -> None:
    """Label y with the metric and its unit."""
    axes.set_ylabel(axis_label(metric))
    if scale(metric) == 100.0:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
