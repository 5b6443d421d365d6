"""Curves in one pair of axes: their style, values off the axis, and a legend that fits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform, offset_copy

from mamlbench.figures import style
from mamlbench.metrics import higher_is_better, scale

_LINES = (("-", "o"), ("--", "s"), ("-.", "P"))
"""Dashes and marker of the first `len(style.CURVES)` curves, of as many more, and of the rest."""
_MARKED = 21  # points; a longer curve has no markers
_PUBLISHED: dict[str, Any] = {"ls": ":", "lw": 0.9, "marker": "D", "ms": 5, "mfc": "none"}
_EDGE: dict[str, Any] = {"ls": "", "ms": 5}
_OUTSIDE = "off the scale or not finite"

_FAR = 20.0  # the axis shows values up to this multiple of the median magnitude
_APART = 7.0  # typographic points between marks that would overlap

_ALL = 100.0  # percent
_CROWDED = 0.1  # of the range of the values
_LEAST = 0.2  # percent; least offset in the logarithm
_TICKS = (0, 20, 40, 60, 80, 90, 95, 98, 99, 99.5)

_WHOLE, _HALF = 72, 33  # characters of a legend line in one column, and in each of two
_LINE = 0.17  # height of a legend line, inches


@dataclass(frozen=True, eq=False)
class Curve:
    """Points along x with a band, in display units (fractions in percent).

    Attributes:
        x: [n], ascending.
        mean: [n], NaN where it is not finite.
        half: [n] half the width of the band, NaN where there is none.
        over_seeds: whether the band is over seeds; otherwise it is over tasks.
    """

    x: np.ndarray
    mean: np.ndarray
    half: np.ndarray
    over_seeds: bool = False


@dataclass(frozen=True, eq=False)
class Named:
    """A curve with its legend text and style.

    Attributes:
        label: legend text; None if the entry of another curve stands for it.
        place: index among all curves of the figure; determines colour and line style.
        curve: its points.
    """

    label: str | None
    place: int
    curve: Curve


def plot(
    figure: Figure,
    metric: str,
    curves: Sequence[Named],
    published: Sequence[Named] = (),
    always_named: bool = False,
    higher: bool | None = None,
) -> Axes:
    """Draw curves and their legend into an empty figure, which grows as the legend needs.

    Marks at the edge show where a curve is far beyond the others or not finite. Where the best
    percentages are crowded below 100, the axis is logarithmic in the error.

    Args:
        figure: to draw into.
        metric: along y.
        curves: measured, drawn with bands.
        published: drawn hollow, with error bars.
        always_named: whether even a single curve has a legend.
        higher: whether a higher metric is better (None: known from its name).
    """
    axes = figure.subplots()
    higher = higher_is_better(metric) if higher is None else higher
    everything = [*curves, *published]
    shown = _scale([named.curve for named in everything])
    for named in curves:
        _draw(axes, replace(named, curve=_inside(named.curve, shown)), _beside(axes, named, curves))
    for named in published:
        inside = _inside(named.curve, shown)
        axes.errorbar(
            *(inside.x, inside.mean, inside.half),
            color=_looks(named.place)[0],
            capsize=2,
            label=named.label,
            **_PUBLISHED,
        )
    more = [Line2D([], [], color=style.MUTED, label="published", **_PUBLISHED)] if published else []
    more += _mark_what_is_outside(axes, higher, everything, shown)
    if scale(metric) == _ALL and higher:
        _spread_good_ones(axes, [named.curve for named in everything])
    style.metric_axis(axes, metric)
    _legend(figure, axes, more, 1 if always_named else 2)
    return axes


def _looks(place: int) -> tuple[str, str, str]:
    """Colour, line style and marker."""
    turn, number = divmod(place, len(style.CURVES))
    return style.CURVES[number], *_LINES[min(turn, len(_LINES) - 1)]


def _draw(axes: Axes, named: Named, transform: Transform) -> None:
    curve, (colour, dashes, marker) = named.curve, _looks(named.place)
    axes.plot(
        *(curve.x, curve.mean),
        ls=dashes,
        color=colour,
        marker=marker if len(curve.x) <= _MARKED else None,
        ms=3.5 if len(curve.x) > 1 else 5,
        label=named.label,
        transform=transform,
    )
    low, high = curve.mean - curve.half, curve.mean + curve.half
    axes.fill_between(curve.x, low, high, color=colour, alpha=0.18, linewidth=0)


def _beside(axes: Axes, named: Named, curves: Sequence[Named]) -> Transform:
    """A transform that moves single points at the same x apart."""
    x = named.curve.x
    alike = [c for c in curves if len(c.curve.x) == len(x) == 1 and c.curve.x[0] == x[0]]
    if len(alike) < 2:
        return axes.transData
    return _shifted(axes, axes.transData, alike.index(named), len(alike))


def _shifted(axes: Axes, transform: Transform, number: int, count: int) -> Transform:
    shift = _APART * (number - (count - 1) / 2)
    return offset_copy(transform, axes.get_figure(root=True), x=shift, units="points")


def _scale(curves: Sequence[Curve]) -> tuple[float, float]:
    """The smallest and largest mean that the axis shows; infinite where it shows all."""
    means = np.concatenate([np.empty(0), *(curve.mean for curve in curves)])
    finite = means[np.isfinite(means)]
    near = finite[np.abs(finite) <= _FAR * np.median(np.abs(finite))] if finite.size else finite
    if not near.any() or len(near) == len(means):
        return -np.inf, np.inf
    return float(near.min()), float(near.max())


def _is_inside(curve: Curve, scale: tuple[float, float]) -> np.ndarray:
    return np.isfinite(curve.mean) & (scale[0] <= curve.mean) & (curve.mean <= scale[1])


def _inside(curve: Curve, scale: tuple[float, float]) -> Curve:
    """The curve with NaN for means off the axis and for bands wider than the axis."""
    inside = _is_inside(curve, scale)
    narrow = 2 * curve.half < scale[1] - scale[0]
    return replace(
        curve,
        mean=np.where(inside, curve.mean, np.nan),
        half=np.where(inside & narrow, curve.half, np.nan),
    )


def _mark_what_is_outside(
    axes: Axes, higher: bool, curves: Sequence[Named], scale: tuple[float, float]
) -> list[Line2D]:
    """Mark at the edge where curves leave the axis; returns the legend entries of the marks."""
    worst = -np.inf if higher else np.inf
    cut = [named for named in curves if not _is_inside(named.curve, scale).all()]
    used = set()
    for number, named in enumerate(cut):
        x, outside = named.curve.x, ~_is_inside(named.curve, scale)
        value = np.where(np.isnan(named.curve.mean), worst, named.curve.mean)
        axes.update_datalim(np.column_stack([x, x]), updatey=False)
        for marker, edge, beyond in (("^", 1, value >= scale[1]), ("v", 0, value <= scale[0])):
            there = outside & beyond
            leaves = x[there & ~np.append(False, there[:-1])]
            if not len(leaves):
                continue
            used.add(marker)
            axes.plot(
                *(leaves, np.full(len(leaves), edge)),
                **_EDGE,
                marker=marker,
                color=_looks(named.place)[0],
                clip_on=False,
                zorder=5,
                transform=_shifted(axes, axes.get_xaxis_transform(), number, len(cut)),
            )
    return [
        Line2D([], [], **_EDGE, marker=marker, color=style.MUTED, label=_OUTSIDE)
        for marker in sorted(used)
    ]


def _spread_good_ones(axes: Axes, curves: Sequence[Curve]) -> None:
    """Make the axis logarithmic in 100 − y where the best percentages are crowded below 100."""
    means = np.concatenate([np.empty(0), *(curve.mean for curve in curves)])
    if not np.isfinite(means).any():
        return
    low, high = np.nanmin(means), np.nanmax(means)
    if _ALL - high >= _CROWDED * (high - low):
        return
    room = max(_ALL - high, _LEAST)  # keeps 100 on the axis
    axes.set_yscale(
        "function",
        functions=(
            lambda y: -np.log(_ALL + room - np.minimum(y, _ALL)),
            lambda t: _ALL + room - np.exp(-t),
        ),
    )
    axes.set_ylim(max(0.0, low - _CROWDED * (high - low)), _ALL)
    axes.set_yticks([tick for tick in _TICKS if low <= tick <= _ALL - room / 2])


def _legend(figure: Figure, axes: Axes, more: Sequence[Line2D], at_least: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    labels += [str(line.get_label()) for line in more]
    if len(labels) < at_least:
        return
    columns = 2 if len(labels) > 3 and max(map(len, labels)) <= _HALF else 1
    texts = [textwrap.fill(text, _WHOLE, subsequent_indent="  ") for text in labels]
    lines = sum(text.count("\n") + 1 for text in texts) / columns
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + _LINE * max(0.0, lines - 2))
    figure.legend(
        *([*handles, *more], texts),
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        handlelength=4,
    )
