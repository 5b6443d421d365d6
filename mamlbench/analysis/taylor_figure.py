"""The figure of Reptile's Taylor analysis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from mamlbench.figures import style

if TYPE_CHECKING:
    from mamlbench.analysis.taylor import Coefficients

_LOOK: dict[str, dict[str, Any]] = {
    "MAML": {"color": style.ORANGE, "marker": "o"},
    "FOMAML": {"color": style.GREEN, "marker": "^"},
    "Reptile": {"color": style.BLUE, "marker": "s"},
}


def draw(
    results: Sequence[Coefficients],
    inner_lrs: Sequence[float],
    predicted: Mapping[str, Callable[[int], tuple[float, float]]],
    out: Path,
) -> None:
    """Draw measured coefficients on the paper's lines, and the remainder of the expansion.

    Args:
        results: of each algorithm and k.
        inner_lrs: the step sizes of the results' remainders.
        predicted: both coefficients of each algorithm as functions of k.
        out: PNG file.
    """
    with style.figure(out, 10.6, 3.8) as figure:
        panels = figure.subplots(1, 3)
        for term, (axes, title) in enumerate(
            zip(panels, ("AvgGrad", r"AvgGradInner, per $\alpha$"), strict=False)
        ):
            _coefficients(axes, results, predicted, term)
            axes.set_title(title)
        panels[0].set_ylabel("coefficient in the expected meta-gradient")
        _remainder(panels[2], results, inner_lrs)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _coefficients(
    axes: Axes,
    results: Sequence[Coefficients],
    predicted: Mapping[str, Callable[[int], tuple[float, float]]],
    term: int,
) -> None:
    ks = sorted({result.k for result in results})
    sign = (1.0, -1.0)[term]
    for algorithm, look in _LOOK.items():
        own = [result for result in results if result.algorithm == algorithm]
        # MAML and FOMAML share a line; dashes make both visible
        dashed = (0, (4, 3)) if algorithm == "FOMAML" else "-"
        theory = [sign * predicted[algorithm](k)[term] for k in ks]
        axes.plot(ks, theory, color=look["color"], lw=1.4, ls=dashed, label=f"{algorithm}, paper")
        values = [sign * result.measured[term] for result in own]
        axes.plot(
            [result.k for result in own],
            values,
            ls="",
            ms=11 if algorithm == "MAML" else 6,
            mec="white",
            label=f"{algorithm}, measured",
            **look,
        )
    axes.set_xticks(ks)
    axes.set_xlabel("mini-batches k")


def _remainder(axes: Axes, results: Sequence[Coefficients], inner_lrs: Sequence[float]) -> None:
    most = max(result.k for result in results)
    order = sorted(range(len(inner_lrs)), key=lambda i: inner_lrs[i])
    alphas = [inner_lrs[i] for i in order]
    least = float("inf")
    for result in results:
        if result.k == most:
            left = [result.remainder[i] for i in order]
            least = min(least, *left)
            axes.plot(alphas, left, ms=6, mec="white", **_LOOK[result.algorithm])
    slope = [0.5 * least * (alpha / alphas[0]) ** 2 for alpha in alphas]
    axes.plot(alphas, slope, color=style.MUTED, lw=1.2, ls=(0, (4, 3)))
    axes.annotate(
        r"$\propto \alpha^2$",
        (alphas[-1], slope[-1]),
        (0, -14),
        textcoords="offset points",
        ha="right",
        va="top",
        color=style.MUTED,
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(alphas, [f"{alpha:g}" for alpha in alphas])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(r"inner step size $\alpha$")
    axes.set_ylabel("norm, relative to AvgGrad")
    axes.set_title(f"Remainder of the expansion, k = {most}")
