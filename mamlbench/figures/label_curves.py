"""The figure of active learning: the value of labels that the learner chooses itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mamlbench.figures import style
from mamlbench.metrics import scale

_LOOKS = {
    "uncertainty": (style.BLUE, "the most uncertain point"),
    "random": (style.ORANGE, "a random point"),
    "difference": (style.GREEN, "uncertain minus random"),
}


def label_curves(curve: Sequence[Mapping[str, Any]], metric: str, out: Path) -> None:
    """Draw the metric against the number of labels by strategy, and their paired difference.

    Bands are 95% intervals over tasks. There is only one panel if the learner has no uncertainty.

    Args:
        curve: entry i holds the scores after i labels, as in summary.json: `random` and, if the
            learner has an uncertainty, `uncertainty` and `difference`, each with the `mean` and
            `ci95` of `metric`.
        metric: name of the metric.
        out: PNG file.
    """
    paired = "difference" in curve[0]
    with style.figure(out, 8.6 if paired else 4.6, 3.4) as figure:
        panels = figure.subplots(1, 2 if paired else 1, squeeze=False)[0]
        for strategy in ("random", "uncertainty") if paired else ("random",):
            _draw(panels[0], curve, strategy, metric)
        panels[0].set_title("Adapted to the labels asked for")
        panels[0].legend()
        if paired:
            _draw(panels[1], curve, "difference", metric)
            panels[1].axhline(0.0, color=style.INK, lw=1.0, ls=(0, (4, 3)))
            panels[1].set_ylabel(f"difference in {panels[0].get_ylabel()}")
            panels[1].set_title("Uncertain minus random, task by task")


def _draw(axes: Axes, curve: Sequence[Mapping[str, Any]], name: str, metric: str) -> None:
    factor, (color, label) = scale(metric), _LOOKS[name]
    mean, half = (
        factor * np.array([entry[name][metric][key] for entry in curve], dtype=float)
        for key in ("mean", "ci95")
    )
    labels = np.arange(len(curve))
    axes.fill_between(labels, mean - half, mean + half, color=color, alpha=0.2, linewidth=0)
    axes.plot(labels, mean, color=color, marker="o", ms=4, label=label)
    style.count_axis(axes, "labels asked for")
    style.metric_axis(axes, metric)
