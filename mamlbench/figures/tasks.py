"""Figures of tasks: functions with a learner's fits, and sheets of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from mamlbench.figures import style
from mamlbench.words import number_of


def fits(
    x: np.ndarray,
    truth: np.ndarray,
    support_x: np.ndarray,
    support_y: np.ndarray,
    learned: Mapping[int, np.ndarray],
    out: Path,
) -> None:
    """Draw one panel per task: truth, points given, and the learner before and after adapting.

    Args:
        x: [n] inputs, ascending.
        truth: [T, n] true values at x.
        support_x: [T, K] inputs of the support points.
        support_y: [T, K] their values.
        learned: the learner's values at x, [T, n], by number of inner steps.
        out: PNG file.
    """
    with style.task_panels(len(truth), 3.3, 2.5, out) as panels:
        look = _step_look(learned)
        for task, axes in enumerate(panels):
            axes.plot(x, truth[task], **style.TRUTH, label="truth")
            for steps in sorted(learned):
                axes.plot(x, learned[steps][task], label=_steps_label(steps), **look[steps])
            axes.plot(support_x[task], support_y[task], label="points given", **style.POINTS)
        handles, labels = panels[0].get_legend_handles_labels()
        beside = 3 if len(panels) in (1, 2, 4) else 7  # up to two panels wide, or three
        panels[0].figure.legend(handles, labels, loc="outside upper center", ncols=beside)


def task_sheet(
    x_support: np.ndarray,
    y_support: np.ndarray,
    x_query: np.ndarray,
    y_query: np.ndarray,
    out: Path,
) -> None:
    """Draw image tasks as a learner gets them: a row per class, support pictures, then queries.

    Shows at most 4 tasks, 20 classes, and 5 support and 5 query pictures of each class.

    Args:
        x_support: [T, M, C, H, W] pictures in [0, 1]; C is 1 (grey) or 3 (colour).
        y_support: [T, M] class numbers.
        x_query: [T, M, C, H, W] pictures in [0, 1].
        y_query: [T, M] class numbers.
        out: PNG file.
    """
    tasks = min(len(x_support), 4)
    ways = min(int(y_support.max()) + 1, 20)
    shots = min(int(np.bincount(y_support[0]).max()), 5)
    queries = min(int(np.bincount(y_query[0], minlength=1).max()), 5)
    columns = 2 if tasks > 1 else 1
    lines = -(-tasks // columns)
    cell = 0.62 if ways <= 8 else 0.4
    width, height = cell * (shots + queries) + 0.7, cell * ways + 0.45
    with style.figure(out, columns * width, lines * height) as figure:
        panels = figure.subplots(lines, columns, squeeze=False, gridspec_kw={"wspace": 0.08})
        for task, axes in enumerate(panels.flat):
            axes.set_axis_off()
            if task >= tasks:
                continue
            support = _mosaic(x_support[task], y_support[task], ways, shots)
            query = _mosaic(x_query[task], y_query[task], ways, queries)
            gap = np.ones((len(support), x_support.shape[-1] // 4, 3))
            axes.imshow(np.concatenate([support, gap, query], axis=1), interpolation="antialiased")
            above: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
            axes.annotate("support", (0, 0), (0, 4), **above)
            axes.annotate("query", (support.shape[1] + gap.shape[1], 0), (0, 4), **above)
            axes.annotate(
                f"task {task}",
                (0, len(support) / 2),
                (-6, 0),
                rotation=90,
                ha="right",
                va="center",
                color=style.MUTED,
                **above,
            )


def _mosaic(x: np.ndarray, y: np.ndarray, ways: int, count: int) -> np.ndarray:
    """One row per class with its first `count` pictures, separated by grey lines."""
    channels, height, width = x.shape[1:]
    edge = max(1, width // 28)
    sheet = np.ones((ways * (height + edge) + edge, count * (width + edge) + edge, 3)) * 0.8
    for number in range(ways):
        for place, picture in enumerate(x[y == number][:count]):
            rgb = picture if channels == 3 else np.repeat(picture.mean(axis=0)[None], 3, axis=0)
            top, left = edge + number * (height + edge), edge + place * (width + edge)
            sheet[top : top + height, left : left + width] = rgb.transpose(1, 2, 0).clip(0, 1)
    return sheet


def _step_look(fits: Mapping[int, np.ndarray]) -> dict[int, dict[str, Any]]:
    """Line styles, from pale and dotted before adaptation to dark and solid after the last step."""
    adapted = [steps for steps in sorted(fits) if steps > 0]
    ramp = [style.GREEN if len(adapted) > 1 else style.BLUE, style.BLUE]
    blend = LinearSegmentedColormap.from_list("steps", ramp)
    look: dict[int, dict[str, Any]] = {0: {"color": style.MUTED, "ls": ":", "lw": 1.4}}
    for place, steps in enumerate(adapted):
        part = place / max(1, len(adapted) - 1)
        look[steps] = {"color": blend(part), "lw": 1.4 + 0.8 * part, "alpha": 0.9}
    return look


def _steps_label(steps: int) -> str:
    if steps == 0:
        return "before adapting"
    return f"after {number_of(steps, 'step')}"
