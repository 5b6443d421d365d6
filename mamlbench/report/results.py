"""Results over several seeds, and how they compare with a published value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mamlbench.estimate import Estimate
from mamlbench.metrics import is_accuracy, number, scale, shown
from mamlbench.report.runs import Run, higher_is_better

OVERLAP = "intervals overlap"
"""Why a verdict of above or below may be due to chance."""
_OUR_INTERVAL = "our interval"
_POINT = 1.0
"""Tolerance in percentage points for an accuracy with another kind of ± than ours, or none."""


@dataclass(frozen=True)
class Result:
    """Our result, in display units (fractions in percent).

    Attributes:
        mean: over tasks and seeds; NaN if a task's score is not finite.
        ci95: half the width of the 95% interval over tasks, of each task's mean over seeds; None
            if a task's score is not finite or there is only one task.
        seeds: of the runs.
        seed_sd: standard deviation over the seeds; None for a single seed.
        n_tasks: number of meta-test tasks.
        higher_is_better: whether a higher value is better.
    """

    mean: float
    ci95: float | None
    seeds: tuple[int, ...]
    seed_sd: float | None
    n_tasks: int
    higher_is_better: bool

    @property
    def is_finite(self) -> bool:
        """Whether every task's score is finite."""
        return math.isfinite(self.mean)


def result(runs: Sequence[Run], metric: str, step: int | None = None) -> Result | None:
    """The joint result of one setting's seeds; None if a run lacks the metric.

    The interval of several seeds is over tasks, of each task's mean over seeds. If the tasks'
    scores were not kept, it is the mean of the seeds' own intervals, which is no narrower.
    """
    found = [run.estimate(metric, step) for run in runs]
    known = [e for e in found if e is not None]
    if not known or len(known) < len(found):
        return None
    factor = scale(metric)
    means = factor * np.array([math.nan if e.mean is None else e.mean for e in known])
    halves = [e.ci95 for e in known]
    ci95 = None if None in halves else factor * float(np.mean([h for h in halves if h is not None]))
    if len(runs) > 1:
        over_tasks = _over_tasks(runs, metric, step)
        ci95 = ci95 if over_tasks is None else over_tasks
    return Result(
        float(means.mean()),
        ci95,
        tuple(sorted(run.seed for run in runs)),
        float(means.std(ddof=1)) if len(runs) > 1 else None,
        min(e.n_tasks for e in known),
        higher_is_better(runs, metric),
    )


def _over_tasks(runs: Sequence[Run], metric: str, step: int | None) -> float | None:
    import pandas as pd

    scores = [run.by_task(metric, step) for run in runs]
    if any(of_run is None for of_run in scores):
        return None
    together = pd.concat([s for s in scores if s is not None], axis=1, join="inner")
    by_task = together.mean(axis=1, skipna=False)
    if len(by_task) < 2 or not np.isfinite(by_task).all():
        return None
    return scale(metric) * Estimate.of(by_task.to_numpy()).ci95


def score_text(metric: str, found: Result | None) -> str:
    """`94.27 ± 0.89` or `not finite`; a dash without a result."""
    if found is None:
        return "–"
    half = None if found.ci95 is None else found.ci95 / scale(metric)
    return shown(metric, found.mean / scale(metric), half)


def seeds_text(metric: str, found: Result | None) -> str:
    """`0`, `0, 1, 2 (sd 0.31)` or, of many in a row, `0–9 (sd 0.31)`; a dash without a result."""
    if found is None:
        return "–"
    seeds = list(found.seeds)
    text = ", ".join(map(str, seeds))
    if len(seeds) > 3 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        text = f"{seeds[0]}–{seeds[-1]}"
    if found.seed_sd is None or not found.is_finite:
        return text
    return f"{text} (sd {number(metric, found.seed_sd)})"


@dataclass(frozen=True)
class Verdict:
    """How our result compares with a published one.

    Attributes:
        word: within, below, above, unclear, diverged, shortened, not run, published only or not
            published.
        why: the criterion or reason, in a few words.
        tone: good, better, worse or none; determines its colour.
    """

    word: str
    why: str = ""
    tone: str = "none"

    @property
    def text(self) -> str:
        """The word, with `why` if that adds something."""
        if self.word == "published only":
            return "–"
        told = self.word in ("within", "unclear", "not run", "shortened")
        told = told or self.why == OVERLAP
        return f"{self.word} ({self.why})" if self.why and told else self.word


def verdict(
    ours: Result,
    metric: str,
    published: float | None,
    interval: float | None,
    kind: str | None,
    shortened: Sequence[str] = (),
) -> Verdict:
    """Compare our result with a published one, by the kind of its printed ±.

    - `tasks95`: within if our mean lies in the printed interval;
    - an accuracy with another kind of ±, or none: within if our mean is at most 1 point away;
    - another metric: within if the published value lies in our 95% interval over tasks, or our
      mean in the printed ±; unclear if half our interval exceeds the value's magnitude.
    """
    if not ours.is_finite:
        tone = "none" if published is None or shortened else "worse"
        return Verdict("diverged", "a task's score is not finite", tone)
    if shortened:
        # the number of iterations is shown beside every result
        return Verdict("shortened", "; ".join(s for s in shortened if "iterations" not in s))
    if published is None:
        return Verdict("not published")
    apart = ours.mean - published
    bound, why = _bound(ours, metric, interval, kind)
    # tolerance for binary rounding: 98.3 is within 98.7 ± 0.4
    if abs(apart) <= bound + 1e-9:
        if why == _OUR_INTERVAL and bound > abs(published):
            return Verdict("unclear", "our interval is wider than the value")
        return Verdict("within", why, "good")
    overlap = kind == "tasks95" and ours.ci95 is not None
    if overlap and abs(apart) <= (interval or 0.0) + (ours.ci95 or 0.0):
        why = OVERLAP
    better = (apart > 0) == ours.higher_is_better
    return Verdict("above" if apart > 0 else "below", why, "better" if better else "worse")


def _bound(
    ours: Result, metric: str, interval: float | None, kind: str | None
) -> tuple[float, str]:
    if kind == "tasks95" and interval is not None:
        return interval, "the printed interval"
    if is_accuracy(metric):
        return _POINT, "1 point"
    half = 0.0 if ours.ci95 is None or math.isnan(ours.ci95) else ours.ci95
    if interval is not None and interval > half:
        return interval, "the printed ±"
    return half, _OUR_INTERVAL
