"""How a run learns: its learning curve, and its score after each inner step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mamlbench.figures import style
from mamlbench.metrics import scale

_SMOOTH_FROM = 120  # rows; with fewer, a running mean would only blur
_LOG_FROM = 50.0  # largest over smallest value; below that, a linear axis shows more


def learning_curve(metrics_csv: Path, out: Path) -> None:
    """Draw the loss and metrics in training and validation by iteration, one panel each.

    The validation's band is its 95% interval over tasks. Long training curves are drawn as a
    running mean over the pale raw values. Draws nothing if there is no row yet.

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
    """Draw the metric after each scored inner step: mean over the test tasks, 95% interval.

    Args:
        by_step: entry s holds `mean` and `ci95` of `metric` after s inner steps, or is None; as in
            summary.json.
        metric: name of the metric.
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


def _metrics(rows: pd.DataFrame) -> list[str]:
    """What to draw: the metrics of validation, or else of training, and the loss if it differs."""
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
    """Whether two metrics have the same values, as loss and mse do in regression."""
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
