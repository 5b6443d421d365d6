"""The figures of a run: what a person would look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from mamlbench.metrics import scale
from mamlbench.report import style
from mamlbench.words import number_of

_SMOOTH_FROM = 120  # rows; with fewer, a running mean would only blur
_LOG_FROM = 50.0  # largest over smallest value; with less, a linear axis shows more


def learning_curve(metrics_csv: Path, out: Path) -> None:
    """Loss and metrics in training and validation against the iteration, one panel each.

    The validation's band is its 95% interval over tasks. Long training curves are drawn as a
    running mean over the pale values themselves. Draws nothing where there is no row yet.

    Args:
        metrics_csv: the run's metrics.csv.
        out: PNG file.
    """
    rows = pd.read_csv(metrics_csv)
    metrics = _metrics(rows)
    if not metrics:
        return
    with style.figure(out, 1.0 + 4.2 * len(metrics), 3.4) as figure:
        panels = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            factor = scale(metric)
            if f"train/{metric}" in rows:
                _training(axes, rows["iteration"], rows[f"train/{metric}"] * factor)
            if f"val/{metric}" in rows:
                band = rows.get(f"val/{metric}_ci95")
                half = None if band is None else band * factor
                _validation(axes, rows["iteration"], rows[f"val/{metric}"] * factor, half)
            _log_scale_if_wide(axes)
            style.count_axis(axes, "meta-training iteration")
            style.metric_axis(axes, metric)
            axes.legend()


def score_by_step(by_step: Sequence[Mapping[str, Any] | None], metric: str, out: Path) -> None:
    """The metric after each inner step that was scored: mean over the test tasks, 95% interval.

    Args:
        by_step: entry s holds `metric`, with `mean` and `ci95`, after s inner steps, or is None; as
            in summary.json.
        metric: which metric.
        out: PNG file.
    """
    factor = scale(metric)
    scored = {step: entry[metric] for step, entry in enumerate(by_step) if entry is not None}
    mean = factor * np.array([entry["mean"] for entry in scored.values()], dtype=float)
    ci95 = factor * np.array([entry["ci95"] for entry in scored.values()], dtype=float)
    steps = np.array(list(scored))
    with style.figure(out, 5.2, 3.4) as figure:
        axes = figure.subplots()
        axes.fill_between(steps, mean - ci95, mean + ci95, color=style.BLUE, alpha=0.2, linewidth=0)
        axes.plot(steps, mean, color=style.BLUE, marker="o" if len(steps) <= 21 else None, ms=4)
        _log_scale_if_wide(axes)
        style.count_axis(axes, "inner steps")
        style.metric_axis(axes, metric)
        axes.set_title("Meta-test, mean and 95% interval over tasks")


def fits(
    x: np.ndarray,
    truth: np.ndarray,
    support_x: np.ndarray,
    support_y: np.ndarray,
    learned: Mapping[int, np.ndarray],
    out: Path,
) -> None:
    """One panel a task: the true curve, the points given, the learner before and after adapting.

    Args:
        x: [n] inputs, ascending.
        truth: [T, n] true values at x.
        support_x: [T, K] inputs of the points adapted to.
        support_y: [T, K] their values.
        learned: the learner's values at x, [T, n], by the number of inner steps taken.
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
        beside = 3 if len(panels) in (1, 2, 4) else 7  # over one panel or two, over three
        panels[0].figure.legend(handles, labels, loc="outside upper center", ncols=beside)


def task_sheet(
    x_support: np.ndarray,
    y_support: np.ndarray,
    x_query: np.ndarray,
    y_query: np.ndarray,
    out: Path,
) -> None:
    """Sampled image tasks as a learner gets them: a row a class, support pictures, then queries.

    Shows at most 4 tasks, 20 classes, and 5 support and 5 query pictures of each class.

    Args:
        x_support: [T, M, C, H, W] pictures in [0, 1], C being 1 (grey) or 3 (colour).
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
    """The first `count` pictures of each class in a row of their own, with grey lines between."""
    channels, height, width = x.shape[1:]
    edge = max(1, width // 28)
    sheet = np.ones((ways * (height + edge) + edge, count * (width + edge) + edge, 3)) * 0.8
    for number in range(ways):
        for place, picture in enumerate(x[y == number][:count]):
            rgb = picture if channels == 3 else np.repeat(picture.mean(axis=0)[None], 3, axis=0)
            top, left = edge + number * (height + edge), edge + place * (width + edge)
            sheet[top : top + height, left : left + width] = rgb.transpose(1, 2, 0).clip(0, 1)
    return sheet


def _metrics(rows: pd.DataFrame) -> list[str]:
    """What to draw: the loss, and the metrics known in validation (of training, where none is)."""
    if rows.empty:
        return []
    known = rows.columns[rows.notna().any()]
    curves = [name for name in known if not name.endswith("_ci95")]
    training, validation = (
        [name.removeprefix(side) for name in curves if name.startswith(side)]
        for side in ("train/", "val/")
    )
    others = [name for name in validation or training if name != "loss"]
    renamed = any(_same_curves(rows, "loss", name) for name in others)
    return ["loss", *others] if "loss" in training + validation and not renamed else others


def _same_curves(rows: pd.DataFrame, first: str, second: str) -> bool:
    """Whether two metrics are one under two names, as loss and mse are in regression."""
    return all(
        f"{side}/{first}" in rows
        and f"{side}/{second}" in rows
        and rows[f"{side}/{first}"].equals(rows[f"{side}/{second}"])
        for side in ("train", "val")
        if f"{side}/{first}" in rows or f"{side}/{second}" in rows
    )


def _training(axes: Axes, iteration: pd.Series, values: pd.Series) -> None:
    known = values.notna()
    x, y = iteration[known], values[known]
    if len(y) < _SMOOTH_FROM:
        marker = "o" if len(y) <= 2 else None
        axes.plot(x, y, color=style.ORANGE, marker=marker, label="training", zorder=2)
        return
    window = len(y) // 40
    smooth = y.rolling(2 * window + 1, center=True, min_periods=window + 1).mean()
    axes.plot(x, y, color=style.ORANGE, lw=0.7, alpha=0.3, zorder=1)
    axes.plot(x, smooth, color=style.ORANGE, label="training (running mean)", zorder=2)


def _validation(
    axes: Axes, iteration: pd.Series, values: pd.Series, ci95: pd.Series | None
) -> None:
    known = values.notna()
    if not known.any():
        return
    x, y = iteration[known], values[known]
    marker = "o" if len(y) <= 30 else None
    axes.plot(x, y, color=style.BLUE, marker=marker, ms=3.5, label="validation", zorder=4)
    if ci95 is not None:
        half = ci95[known]
        axes.fill_between(
            x, y - half, y + half, color=style.BLUE, alpha=0.2, lw=0, label="95% interval", zorder=1
        )


def _log_scale_if_wide(axes: Axes) -> None:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() / values.min() > _LOG_FROM:
        axes.set_yscale("log")


def _step_look(fits: Mapping[int, np.ndarray]) -> dict[int, dict[str, Any]]:
    """From pale and dotted before adaptation to dark and solid after the last step."""
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
