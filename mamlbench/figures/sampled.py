"""Figures of several learners sampled for the same task, beside the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from mamlbench.figures import style

_BOUNDARY = 0.5
_MARKS = {1: style.POINTS, 0: style.POINTS | {"marker": "o", "color": style.INK, "ms": 5}}


def functions(
    x: np.ndarray,
    truth: np.ndarray,
    support_x: np.ndarray,
    support_y: np.ndarray,
    samples: np.ndarray,
    out: Path,
) -> None:
    """Draw one panel per task: each sample's curve, their mean, the truth and the points given.

    Args:
        x: [n] inputs, ascending.
        truth: [T, n] true values at x.
        support_x: [T, K] inputs of the support points.
        support_y: [T, K] their values.
        samples: [T, P, n] values of the samples at x.
        out: PNG file.
    """
    with style.task_panels(len(truth), 3.3, 2.5, out) as panels:
        for task, axes in enumerate(panels):
            for curve in samples[task]:
                axes.plot(x, curve, color=style.BLUE, lw=0.9, alpha=0.45)
            axes.plot(x, samples[task].mean(0), color=style.BLUE, lw=2.0)
            axes.plot(x, truth[task], **style.TRUTH)
            axes.plot(support_x[task], support_y[task], **style.POINTS)
        panels[0].figure.legend(
            [
                Line2D([], [], **style.TRUTH),
                Line2D([], [], color=style.BLUE, lw=0.9, alpha=0.6),
                Line2D([], [], color=style.BLUE, lw=2.0),
                Line2D([], [], **style.POINTS),
            ],
            ["truth", f"{samples.shape[1]} samples", "their mean", "points given"],
            loc="outside upper center",
            ncols=4,
        )


def boundaries(
    grid: np.ndarray,
    probability: np.ndarray,
    support: np.ndarray,
    labels: np.ndarray,
    circles: np.ndarray,
    out: Path,
) -> None:
    """Draw one panel per task: each sample's boundary of class 1 over its mean probability.

    Args:
        grid: [n] values of either coordinate of a square grid, ascending.
        probability: [T, P, n, n] of class 1, indexed by the second coordinate, then the first.
        support: [T, M, 2] the support points.
        labels: [T, M] their classes, 0 or 1.
        circles: [T, 3] the true circle's centre and radius.
        out: PNG file.
    """
    shades = LinearSegmentedColormap.from_list("class 1", ["white", style.BLUE])
    with style.task_panels(len(circles), 2.9, 2.7, out) as panels:
        for task, axes in enumerate(panels):
            axes.grid(visible=False)
            axes.set_aspect("equal")
            axes.contourf(
                grid, grid, probability[task].mean(0), np.linspace(0, 1, 11), cmap=shades, alpha=0.5
            )
            for sample in probability[task]:
                if sample.min() < _BOUNDARY < sample.max():
                    axes.contour(grid, grid, sample, [_BOUNDARY], colors=style.BLUE, linewidths=0.9)
            x, y, radius = circles[task]
            axes.add_patch(Circle((x, y), radius, fill=False, **style.TRUTH))
            for label, mark in _MARKS.items():
                axes.plot(*support[task][labels[task] == label].T, **mark)
        _boundary_legend(panels[0], np.unique(labels))


def _boundary_legend(panel: Axes, classes: np.ndarray) -> None:
    names = {0: "points given, outside", 1: "points given, inside"}
    handles = {
        "truth": Line2D([], [], **style.TRUTH),
        "a sample's boundary": Line2D([], [], color=style.BLUE, lw=0.9),
        **{names[label]: Line2D([], [], **_MARKS[label]) for label in classes.tolist()},
    }
    panel.figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles)
    )
