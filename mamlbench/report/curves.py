"""Figures over several runs: learning curves, scores by inner step, the papers' figures redrawn."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mamlbench.figures import style
from mamlbench.metrics import scale
from mamlbench.report.curve_plot import Curve, Named, plot
from mamlbench.report.entries import Entry, labels
from mamlbench.report.folder_tables import FolderTable
from mamlbench.report.paper_tables import Line, PaperTable
from mamlbench.report.report import Report
from mamlbench.report.runs import higher_is_better
from mamlbench.tables import Table

SIZE = (5.6, 3.5)
_TITLE = 58  # characters per line of a figure's title
_MOST = len(style.CURVES)


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn as PNG or in a page.

    Attributes:
        name: file name without suffix.
        title: shown above it.
        caption: explains curves, bands and points.
        draw: draws it into a figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Figure], None]


def drawings(found: Report) -> list[Drawing]:
    """All figures of a report: the papers' figures, then up to two for each folder table."""
    papers = [paper_figure(paper) for paper in found.papers if paper.table.kind == "figure"]
    of_folders = [drawing for table in found.folders for drawing in of_folder(table)]
    return [drawing for drawing in papers if drawing is not None] + of_folders


def draw_all(found: Report, folder: Path) -> list[Path]:
    """Draw a report's figures as PNG files into a folder."""
    paths = []
    for drawing in drawings(found):
        path = folder / f"{drawing.name}.png"
        with style.figure(path, *SIZE) as figure:
            drawing.draw(figure)
            figure.axes[0].set_title(textwrap.fill(drawing.title, _TITLE))
        paths.append(path)
    return paths


def of_folder(table: FolderTable) -> list[Drawing]:
    """Figures of a table's best entries: learning curves, and the score after each inner step."""
    shown = list(zip(table.labels, table.entries, strict=True))[:_MOST]
    more = len(table.entries) - len(shown)
    higher = higher_is_better((r for e in table.entries for r in e.runs), table.metric)
    which = f" The best {len(shown)} of {len(table.entries)}." if more else ""
    made = []
    learning = [learning_curve(entry, table.metric) for _, entry in shown]
    by_step = [score_by_step(entry, table.metric) for _, entry in shown]
    for name, title, caption, axis, found in (
        (
            "learning",
            "while learning",
            "Meta-validation (where there is none, training).",
            "meta-training iteration",
            learning,
        ),
        (
            "by_step",
            "by inner step at meta-test",
            "Mean over tasks and seeds.",
            "inner steps",
            [curve if len(curve.x) > 1 else None for curve in by_step],
        ),
    ):
        curves = [
            Named(label, place, curve)
            for place, ((label, _), curve) in enumerate(zip(shown, found, strict=True))
            if curve is not None
        ]
        if curves:
            file = re.sub(r"\W+", "_", f"{table.title}_{table.metric}_{name}")
            draw = partial(_draw, curves=curves, axis=axis, metric=table.metric, higher=higher)
            told = f"{caption}{_bands(curves)}{which}"
            made.append(Drawing(file, f"{table.title} {title}", told, draw))
    return made


def _draw(figure: Figure, curves: Sequence[Named], axis: str, metric: str, higher: bool) -> None:
    style.count_axis(plot(figure, metric, curves, higher=higher), axis)


def learning_curve(entry: Entry, metric: str) -> Curve | None:
    """Mean over seeds of the validation metric (or else the training metric) by iteration.

    Covers the iterations that all seeds have.
    """
    tables = [rows for run in entry.runs if (rows := run.curve()) is not None]
    for column in (f"val/{metric}", f"train/{metric}"):
        known = [t.dropna(subset=[column]).set_index("iteration") for t in tables if column in t]
        if not known or any(t.empty for t in known):
            continue
        seeds = pd.concat([t[column] for t in known], axis=1, join="inner").sort_index()
        if seeds.empty:
            continue
        half = seeds.std(axis=1, ddof=1)
        if len(known) == 1:
            width = known[0].get(f"{column}_ci95")
            half = pd.Series(np.nan, seeds.index) if width is None else width
        factor = scale(metric)
        values = (seeds.mean(axis=1), half.reindex(seeds.index))
        mean, band = (factor * v.to_numpy(dtype=float) for v in values)
        return Curve(seeds.index.to_numpy(), mean, band, over_seeds=len(known) > 1)
    return None


def score_by_step(entry: Entry, metric: str) -> Curve:
    """Mean over seeds of the test metric after each inner step that all seeds have scored.

    The band is the mean of the seeds' intervals.
    """
    all_runs = zip(*(run.summary.test.by_step for run in entry.runs), strict=False)
    steps = [step for step, found in enumerate(all_runs) if None not in found]
    estimates = [[run.estimate(metric, s) for run in entry.runs] for s in steps]

    def mean_of(name: str) -> np.ndarray:
        values = [[getattr(e, name, None) for e in of_step] for of_step in estimates]
        return scale(metric) * np.array(values, dtype=float).mean(axis=1)

    return Curve(np.array(steps), mean_of("mean"), mean_of("ci95"))


def score_by_label(entry: Entry, metric: str) -> Curve | None:
    """The lowest seed's metric after each label that active learning chose."""
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
"""Figures in which one run makes a whole curve, by the quantity along x."""


def paper_figure(paper: PaperTable) -> Drawing | None:
    """A paper's figure from our runs, with the published points where their values are known.

    None without runs and published values.
    """
    if all(line.ours is None and line.cell.published is None for line in paper.lines):
        return None
    ours, published = _ours_and_published(paper)
    marks = "Lines" if any(len(named.curve.x) > 1 for named in ours) else "Points"
    caption = f"{marks}: ours.{_bands(ours)}" if ours else ""
    if published:
        intervals = any(np.isfinite(named.curve.half).any() for named in published)
        caption += " Hollow: published, with the printed ±." if intervals else " Hollow: published."
    runs = (r for line in paper.lines if line.entry is not None for r in line.entry.runs)
    higher = higher_is_better(runs, paper.table.metric)
    draw = partial(_paper, table=paper.table, ours=ours, published=published, higher=higher)
    return Drawing(paper.table.name, paper.table.title, caption.strip(), draw)


def _bands(curves: Sequence[Named]) -> str:
    """What the curves' bands show, in words; a single point has no visible band."""
    banded = [c.curve for c in curves if len(c.curve.x) > 1 and np.isfinite(c.curve.half).any()]
    seeds, tasks = "one standard deviation over seeds", "the 95% interval over tasks"
    if not banded:
        return ""
    if all(curve.over_seeds for curve in banded):
        return f" Bands: {seeds}."
    if any(curve.over_seeds for curve in banded):
        return f" Bands: {seeds}; for a single seed, {tasks}."
    return f" Bands: {tasks}."


def _paper(
    figure: Figure, table: Table, ours: Sequence[Named], published: Sequence[Named], higher: bool
) -> None:
    axes = plot(figure, table.metric, ours, published, always_named=True, higher=higher)
    _name_x(axes, table, _positions(table.columns))


def _ours_and_published(paper: PaperTable) -> tuple[list[Named], list[Named]]:
    table, positions = paper.table, _positions(paper.table.columns)
    ours: list[Named] = []
    further = len(table.rows)
    measured = set()
    by_row = [[line for line in paper.lines if line.cell.row == row] for row in table.rows]
    for place, (row, lines) in enumerate(zip(table.rows, by_row, strict=True)):
        versions = {
            name: curve
            for name, of_version in _versions(row, lines).items()
            if (curve := _measured(of_version, paper, positions)) is not None
        }
        for number, (name, curve) in enumerate(versions.items()):
            ours.append(Named(name, further if number else place, curve))
            further += number > 0
            measured.add(row)
    if table.x in _WHOLE_CURVES:  # published values are where the curves end
        if not ours:
            return [], []
        positions = dict.fromkeys(positions, max(float(named.curve.x[-1]) for named in ours))
    published = [
        Named(None if row in measured else row, place, printed)
        for place, (row, lines) in enumerate(zip(table.rows, by_row, strict=True))
        if (printed := _printed(lines, positions)) is not None
    ]
    return ours, published


def _versions(row: str, lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The measured lines of a row by curve name; a single curve has the row's name.

    Where a cell has several results, each is on its own curve, named after the options or code
    that distinguish it; equal runs also after the folder.
    """
    by_cell: dict[str, list[tuple[Line, Entry]]] = defaultdict(list)
    for line in lines:
        if line.entry is not None:
            by_cell[line.cell.column].append((line, line.entry))
    several = any(len(found) > 1 for found in by_cell.values())
    curves: dict[str, list[Line]] = defaultdict(list)
    for found in by_cell.values():
        names = labels([entry for _, entry in found])
        for (line, entry), name in zip(found, names, strict=True):
            apart = name.removeprefix(entry.first.summary.algorithm).strip(" ,") or entry.code
            if names.count(name) > 1:
                apart += f", {entry.first.folder}"
            curves[f"{row}, {apart}" if several else row].append(line)
    return curves


def _measured(
    lines: Sequence[Line], paper: PaperTable, positions: Mapping[str, float]
) -> Curve | None:
    whole = _WHOLE_CURVES.get(str(paper.table.x))
    if whole is not None:
        entry = lines[0].entry
        return None if entry is None else whole(entry, lines[0].cell.metric)
    ours = [(positions[line.cell.column], line.ours) for line in lines if line.ours is not None]
    if not ours:
        return None
    return Curve(
        np.array([x for x, _ in ours]),
        np.array([result.mean for _, result in ours]),
        np.array([result.ci95 for _, result in ours], dtype=float),
    )


def _printed(lines: Sequence[Line], positions: Mapping[str, float]) -> Curve | None:
    cells = dict.fromkeys(line.cell for line in lines if line.cell.published is not None)
    values = [(positions[cell.column], cell.published, cell.interval) for cell in cells]
    return Curve(*np.array(values, dtype=float).T) if values else None


def _name_x(axes: Axes, table: Table, positions: Mapping[str, float]) -> None:
    words = {"inner_steps": "inner steps", "iterations": "meta-training iteration"}
    style.count_axis(axes, words.get(str(table.x), str(table.x or "").replace("_", " ")))
    if table.x in _WHOLE_CURVES:
        return
    numbers = list(positions.values())
    fractions = any(number % 1 for number in numbers)
    if fractions and min(numbers) > 0:
        axes.set_xscale("log")
        axes.minorticks_off()
    if fractions or _number(table.columns[0]) is None:
        axes.set_xticks(numbers, list(positions))


def _positions(columns: Sequence[str]) -> dict[str, float]:
    """Each column's x: its leading number if all columns have one, otherwise evenly spaced."""
    numbers = [_number(column) for column in columns]
    known = [number for number in numbers if number is not None]
    return dict(zip(columns, known if len(known) == len(columns) else range(len(columns))))  # noqa: B905


def _number(column: str) -> float | None:
    match = re.match(r"-?\d+(\.\d+)?", column.replace(",", ""))
    return float(match[0]) if match else None
