"""Results of runs with several seeds, and what they say of a published value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mamlbench.estimate import Estimate
from mamlbench.metrics import is_accuracy, number, scale, shown
from mamlbench.report.runs import Run, higher_is_better

_OUR_INTERVAL = "our interval"
_POINT = 1.0
"""Accuracy whose ± is of another kind than ours, or is none, is compared within a point."""


@dataclass(frozen=True)
class Result:
    """Ours, in the unit that is shown (fractions in percent).

    Attributes:
        mean: over tasks and seeds; nan where a task's score is not finite.
        ci95: half the 95% interval over tasks, of the seeds' mean on each task; None where a
            task's score is not finite.
        seeds: which ran.
        seed_sd: standard deviation over the seeds; None for one.
        n_tasks: meta-test tasks.
        higher_is_better: whether more of it is.
    """

    mean: float
    ci95: float | None
    seeds: tuple[int, ...]
    seed_sd: float | None
    n_tasks: int
    higher_is_better: bool

    @property
    def is_finite(self) -> bool:
        """Whether every task has a score."""
        return math.isfinite(self.mean)


def result(runs: Sequence[Run], metric: str, step: int | None = None) -> Result | None:
    """What runs of one setting with different seeds give together; None where one lacks it.

    The interval of several seeds is over tasks, each task's score being its mean over the seeds.
    Where the tasks' scores were not kept it is the mean of the seeds' own, which is no narrower.
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
    """`94.27 ± 0.89`, or that it is not finite."""
    if found is None:
        return "–"
    half = None if found.ci95 is None else found.ci95 / scale(metric)
    return shown(metric, found.mean / scale(metric), half)


def seeds_text(metric: str, found: Result | None) -> str:
    """`0`, or `0, 1, 2 (sd 0.31)`; of many, the first and the last; a dash without a result."""
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
    """What our result says of a published one.

    Attributes:
        word: within, below, above, unclear, diverged, shortened, not run, published only or not
            published.
        why: what it was judged by, in a few words.
        tone: good, better, worse or none, for its looks.
    """

    word: str
    why: str = ""
    tone: str = "none"

    @property
    def text(self) -> str:
        """The word, and why where that adds something."""
        if self.word == "published only":
            return "–"
        told = self.word in ("within", "unclear", "not run", "shortened")
        told = told or self.why == "intervals overlap"
        return f"{self.word} ({self.why})" if self.why and told else self.word


def verdict(
    ours: Result,
    metric: str,
    published: float | None,
    interval: float | None,
    kind: str | None,
    shortened: Sequence[str] = (),
) -> Verdict:
    """Compare like with like: a printed interval over tasks with ours, anything else with care.

    - `tasks95`: within, if our mean lies in the printed interval;
    - another kind of ±, or none, of an accuracy: within, if our mean is at most 1 point away;
    - of another metric: within, if the published value lies in our 95% interval over tasks, or
      our mean in the printed ±; but unclear, if our interval is wider than the value is large.
    """
    if not ours.is_finite:
        tone = "none" if published is None or shortened else "worse"
        return Verdict("diverged", "a task's score is not finite", tone)
    if shortened:
        # how many iterations there were stands beside every result
        return Verdict("shortened", "; ".join(s for s in shortened if "iterations" not in s))
    if published is None:
        return Verdict("not published")
    apart = ours.mean - published
    bound, why = _bound(ours, metric, interval, kind)
    # decimal numbers are not binary ones: 98.3 is within 98.7 ± 0.4
    if abs(apart) <= bound + 1e-9:
        if why == _OUR_INTERVAL and bound > abs(published):
            return Verdict("unclear", "our interval is wider than the value")
        return Verdict("within", why, "good")
    overlap = kind == "tasks95" and ours.ci95 is not None
    if overlap and abs(apart) <= (interval or 0.0) + (ours.ci95 or 0.0):
        why = "intervals overlap"
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
