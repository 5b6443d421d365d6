"""Figures over several runs: learning curves, scores by inner step, the papers' figures redrawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mamlbench.metrics import scale
from mamlbench.report import style
from mamlbench.report.entries import Entry
from mamlbench.report.folder_tables import FolderTable
from mamlbench.report.paper_tables import PaperTable
from mamlbench.report.report import Report

SIZE = (5.6, 3.5)
_MOST = len(style.CURVES)


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn as PNG or in a page.

    Attributes:
        name: of its file.
        title: above it.
        caption: what curves, bands and points are.
        draw: puts it into a figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Figure], None]


@dataclass(frozen=True)
class Curve:
    """Points along x with a band, in the unit that is shown.

    Attributes:
        x: [n], ascending.
        mean: [n].
        half: [n] half the band, NaN where there is none.
    """

    x: np.ndarray
    mean: np.ndarray
    half: np.ndarray


def drawings(found: Report) -> list[Drawing]:
    """All figures of a report: those of the papers, then two of each dataset and setting."""
    papers = [paper_figure(paper) for paper in found.papers if paper.table.kind == "figure"]
    of_folders = [drawing for table in found.folders for drawing in of_folder(table)]
    return [drawing for drawing in papers if drawing is not None] + of_folders


def draw_all(found: Report, folder: Path) -> list[Path]:
    """Draw them as PNG into a folder."""
    paths = []
    for drawing in drawings(found):
        path = folder / f"{drawing.name}.png"
        with style.figure(path, *SIZE) as figure:
            drawing.draw(figure)
            figure.axes[0].set_title(drawing.title)
        paths.append(path)
    return paths


def of_folder(table: FolderTable) -> list[Drawing]:
    """Learning curves, and the score after each inner step, of a table's best entries."""
    shown = list(zip(table.labels, table.entries, strict=True))[:_MOST]
    more = len(table.entries) - len(shown)
    which = f" The best {len(shown)} of {len(table.entries)}." if more else ""
    made = []
    learning = [(label, learning_curve(entry, table.metric)) for label, entry in shown]
    by_step = [(label, score_by_step(entry, table.metric)) for label, entry in shown]
    for name, title, caption, axis, curves in (
        (
            "learning",
            "while learning",
            "Meta-validation (where there is none, training). Bands: one standard deviation over "
            "seeds, or of a single seed the 95% interval over tasks.",
            "meta-training iteration",
            [(label, curve) for label, curve in learning if curve is not None],
        ),
        (
            "by_step",
            "by inner step at meta-test",
            "Mean over tasks and seeds with the 95% interval over tasks.",
            "inner steps",
            [(label, curve) for label, curve in by_step if len(curve.x) > 1],
        ),
    ):
        if curves:
            file = re.sub(r"\W+", "_", f"{table.title}_{table.metric}_{name}")
            draw = _drawing_of(curves, axis, table.metric)
            made.append(Drawing(file, f"{table.title} {title}", caption + which, draw))
    return made


def _drawing_of(
    curves: Sequence[tuple[str, Curve]], axis: str, metric: str
) -> Callable[[Figure], None]:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (label, curve) in enumerate(curves):
            _plot(axes, curve, label, number)
        style.count_axis(axes, axis)
        style.metric_axis(axes, metric)
        style.keep_in_sight(axes)
        _legend(figure, len(curves))

    return draw


def _plot(axes: Axes, curve: Curve, label: str, number: int) -> None:
    colour, dashes = style.CURVES[number % _MOST], "-" if number < _MOST else "--"
    marker = "o" if len(curve.x) <= 21 else None
    axes.plot(
        *(curve.x, curve.mean), ls=dashes, color=colour, marker=marker, ms=3.5, label=_short(label)
    )
    low, high = curve.mean - curve.half, curve.mean + curve.half
    axes.fill_between(curve.x, low, high, color=colour, alpha=0.18, linewidth=0)


def _legend(figure: Figure, count: int) -> None:
    if count > 1:
        figure.legend(loc="outside lower center", ncols=2 if count > 3 else 1, fontsize=8)


def _short(label: str) -> str:
    return label if len(label) <= 60 else label[:59] + "…"


def learning_curve(entry: Entry, metric: str) -> Curve | None:
    """Validation against the iteration (training, where there is none), over the seeds."""
    tables = [rows for run in entry.runs if (rows := run.curve()) is not None]
    for column in (f"val/{metric}", f"train/{metric}"):
        known = [t.dropna(subset=[column]).set_index("iteration") for t in tables if column in t]
        if not known or any(t.empty for t in known):
            continue
        seeds = pd.concat([t[column] for t in known], axis=1)
        half = seeds.std(axis=1, ddof=1)
        if len(known) == 1:
            width = known[0].get(f"{column}_ci95")
            half = pd.Series(np.nan, seeds.index) if width is None else width
        factor = scale(metric)
        values = (seeds.mean(axis=1), half.reindex(seeds.index))
        mean, band = (factor * v.to_numpy(dtype=float) for v in values)
        return Curve(seeds.index.to_numpy(), mean, band)
    return None


def score_by_step(entry: Entry, metric: str) -> Curve:
    """The test metric after the inner steps that all seeds have scored, in their mean.

    Band: the mean of their intervals.
    """
    all_runs = zip(*(run.summary.test.by_step for run in entry.runs), strict=False)
    steps = [step for step, found in enumerate(all_runs) if None not in found]
    estimates = [[run.estimate(metric, s) for run in entry.runs] for s in steps]

    def mean_of(name: str) -> np.ndarray:
        values = [[getattr(e, name, None) for e in of_step] for of_step in estimates]
        return scale(metric) * np.array(values, dtype=float).mean(axis=1)

    return Curve(np.array(steps), mean_of("mean"), mean_of("ci95"))


def score_by_label(entry: Entry, metric: str) -> Curve | None:
    """The metric after each label that active learning chose, of the lowest seed."""
    found = (entry.first.summary.model_extra or {}).get("active_learning")
    if not found or any("uncertainty" not in step for step in found["curve"]):
        return None
    steps = [step["uncertainty"][metric] for step in found["curve"]]
    mean, half = (
        scale(metric) * np.array([s[n] for s in steps], dtype=float) for n in ("mean", "ci95")
    )
    return Curve(np.arange(len(steps)), mean, half)


_WHOLE_CURVES: dict[str, Callable[[Entry, str], Curve | None]] = {
    "iterations": learning_curve,
    "labels": score_by_label,
}
"""Figures of which one run makes a whole curve, by what is along x."""


def paper_figure(paper: PaperTable) -> Drawing | None:
    """A paper's figure from our runs, with the published points where their values are known.

    None where no run of it is there and nothing was published in numbers.
    """
    if all(line.ours is None and line.cell.published is None for line in paper.lines):
        return None
    caption = (
        "Lines: ours, with the 95% interval over tasks (learning curves of several seeds: one "
        "standard deviation). Hollow: published, with the printed ±."
    )
    table = paper.table
    return Drawing(table.name, f"{table.title}", caption, lambda figure: _paper(figure, paper))


def _paper(figure: Figure, paper: PaperTable) -> None:
    table = paper.table
    axes, positions = figure.subplots(), _positions(table.columns)
    rows = [row for row in table.rows if any(line.cell.row == row for line in paper.lines)]
    for number, row in enumerate(rows):
        colour = style.CURVES[number % _MOST]
        lines = [line for line in paper.lines if line.cell.row == row]
        if table.x in _WHOLE_CURVES:
            entries = [line.entry for line in lines if line.entry is not None]
            curve = _WHOLE_CURVES[table.x](entries[0], table.metric) if entries else None
            if curve is not None:
                _plot(axes, curve, row, number)
            continue
        ours = [line for line in lines if line.ours is not None]
        if ours:
            x = np.array([positions[line.cell.column] for line in ours])
            mean = np.array([line.ours.mean if line.ours else np.nan for line in ours])
            half = np.array([(line.ours.ci95 if line.ours else None) or np.nan for line in ours])
            _plot(axes, Curve(x, mean, half), row, number)
        known = [line.cell for line in lines if line.cell.published is not None]
        label = row if known and not ours else None
        axes.errorbar(
            [positions[cell.column] for cell in known],
            [float(cell.published or 0.0) for cell in known],
            yerr=[float(cell.interval or 0.0) for cell in known],
            ls=":",
            lw=0.9,
            marker="D",
            ms=5,
            mfc="none",
            color=colour,
            capsize=2,
            label=label,
        )
    _name_axes(axes, paper, positions)
    _legend(figure, max(2, len(rows)))


def _name_axes(axes: Axes, paper: PaperTable, positions: dict[str, float]) -> None:
    words = {"inner_steps": "inner steps", "iterations": "meta-training iteration"}
    style.count_axis(
        axes, words.get(str(paper.table.x), str(paper.table.x or "").replace("_", " "))
    )
    style.metric_axis(axes, paper.table.metric)
    style.keep_in_sight(axes)
    if paper.table.x not in _WHOLE_CURVES and _number(paper.table.columns[0]) is None:
        axes.set_xticks(list(positions.values()), list(positions))


def _positions(columns: Sequence[str]) -> dict[str, float]:
    """Where each column is along x: at its number, where all begin with one; else evenly apart."""
    numbers = [_number(column) for column in columns]
    known = [number for number in numbers if number is not None]
    return dict(zip(columns, known if len(known) == len(columns) else range(len(columns))))  # noqa: B905


def _number(column: str) -> float | None:
    match = re.match(r"-?\d+(\.\d+)?", column.replace(",", ""))
    return float(match[0]) if match else None
