"""Paired comparison of learners on the same test tasks: mean differences and their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mamlbench.config.settings import differences, option_text
from mamlbench.estimate import Estimate
from mamlbench.metrics import number, scale
from mamlbench.report.results import Result
from mamlbench.report.runs import Run
from mamlbench.report.sheets import Marked, Sheet

_Named = tuple[Marked, Sequence[Run]]
_OF_TRAINING = ("dataset.shots", "dataset.queries", "dataset.train_shots")
_TOLD = 3
_ONLY = "only"
_ALL_PAIRS = 4
"""Up to this many results on the same tasks, all pairs are compared."""


@dataclass(frozen=True)
class Difference:
    """The difference of two results over tasks, in display units (fractions in percent).

    Attributes:
        mean: mean over tasks of each task's mean over seeds.
        ci95: half the width of its paired 95% interval over tasks.
        n_tasks: number of tasks that both were tested on.
        seeds: of the paired runs.
    """

    mean: float
    ci95: float
    n_tasks: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Two results on the same test tasks.

    Attributes:
        name: the worse result.
        other: the better result, which is subtracted from it.
        metric: as `summary.json` names it.
        column: of the paper's table; empty in a folder table.
        difference: `name` minus `other`.
        seeds: the paired seeds, in words.
        otherwise: protocol options in which the two differ, although the tasks are the same.
    """

    name: Marked
    other: Marked
    metric: str
    column: str
    difference: Difference
    seeds: str
    otherwise: tuple[str, ...]


@dataclass(frozen=True)
class Left:
    """A result in no pair.

    Attributes:
        name: the result.
        why: the reason.
        apart: how its test tasks differ from the most similar ones; empty for another reason.
    """

    name: str
    why: str
    apart: str = ""


@dataclass(frozen=True)
class Pairing:
    """Pairs of results on the same test tasks.

    Attributes:
        pairs: those compared, by group of results on the same tasks.
        left: the results in no pair.
    """

    pairs: tuple[Pair, ...]
    left: tuple[Left, ...]

    def sheet(self, title: str) -> Sheet | None:
        """The differences as texts; None if there are no pairs."""
        if not self.pairs:
            return None
        in_columns = any(pair.column for pair in self.pairs)
        rows: list[list[str | Marked]] = []
        for pair in self.pairs:
            column = [pair.column] if in_columns else []
            apart = difference_text(pair.metric, pair.difference)
            tasks = f"{pair.difference.n_tasks:,}"
            rows.append([pair.name, *column, apart, tasks, pair.seeds, pair.other])
        columns = ("difference (± 95%, paired)", "tasks", "seeds", "relative to")
        names = ("", *[""] * in_columns, *columns)
        title = f"{title}: differences on the same test tasks"
        return Sheet(title, names, rows, remarks=self._remarks())

    def _remarks(self) -> list[str]:
        found = []
        if any(pair.seeds.startswith(_ONLY) for pair in self.pairs):
            found.append("only seeds that both have are paired; the means above are over all seeds")
        names = dict.fromkeys(name for pair in self.pairs for name in pair.otherwise)
        if names:
            found.append(f"some tests differ in {' and '.join(names)} (see above)")
        return found

    def lines(self, explained: bool) -> list[str]:
        """`not paired: NAMES: why`, one for each reason; `explained` adds how the tasks differ."""
        by_reason: dict[str, list[str]] = {}
        for left in self.left:
            apart = f" ({left.apart})" if explained and left.apart else ""
            by_reason.setdefault(left.why + apart, []).append(left.name)
        return [f"not paired: {'; '.join(names)}: {why}" for why, names in by_reason.items()]


def why_not(one: Run, other: Run) -> str | None:
    """Why two runs' test tasks differ, in words; None if they are the same.

    Task i depends only on data, shots and queries, not on the run's seed or the number of tasks.
    """
    found = _apart(one, other)
    more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return ", ".join(found[:_TOLD] + more) or None


def _apart(one: Run, other: Run) -> list[str]:
    datasets = one.summary.dataset, other.summary.dataset
    if len(set(datasets)) > 1:
        return [f"the datasets are {' and '.join(datasets)}"]
    names = differences(_tested_on(one), _tested_on(other))
    names |= differences(_made_from(one), _made_from(other))
    found = [f"{n} is {option_text(a)} and {option_text(b)}" for n, (a, b) in names.items()]
    if one.summary.data_sha256 != other.summary.data_sha256:
        hashes = [str(run.summary.data_sha256)[:8] for run in (one, other)]
        found.append(f"the data are not the same (sha256 {hashes[0]} and {hashes[1]})")
    if one.mujoco != other.mujoco:
        found.append(f"MuJoCo is {one.mujoco} and {other.mujoco}")
    return found


def _made_from(run: Run) -> dict[str, Any]:
    options = run.options.items()
    return {n: v for n, v in options if n.startswith("dataset.") and n not in _OF_TRAINING}


def _tested_on(run: Run) -> dict[str, Any]:
    evaluation = run.config["evaluation"]
    shots = evaluation.get("shots") or run.config["dataset"].get("shots")
    queries = evaluation.get("queries")
    return {
        "evaluation.shots": shots,
        "evaluation.queries": shots if queries == "shots" else queries,
    }


def difference(
    ours: Sequence[Run], theirs: Sequence[Run], metric: str, step: int | None = None
) -> Difference | None:
    """`ours` minus `theirs`, paired by seed and task.

    Two single runs are paired by task whatever their seeds. None if no seed is in both, the tasks'
    scores were not kept, or a score of a shared task is not finite.
    """
    import pandas as pd

    pairs = [(a, b) for a in ours for b in theirs if a.seed == b.seed]
    if not pairs and len(ours) == len(theirs) == 1:
        pairs = [(ours[0], theirs[0])]
    apart = []
    for one, other in pairs:
        first, second = one.by_task(metric, step), other.by_task(metric, step)
        if first is None or second is None:
            return None
        both = first.index.intersection(second.index)
        apart.append(first[both] - second[both])
    if not apart:
        return None
    by_task = pd.concat(apart, axis=1, join="inner").mean(axis=1, skipna=False).to_numpy()
    if len(by_task) < 2 or not np.isfinite(by_task).all():
        return None
    factor, found = scale(metric), Estimate.of(by_task)
    seeds = tuple(sorted({run.seed for pair in pairs for run in pair}))
    return Difference(factor * found.mean, factor * found.ci95, found.n_tasks, seeds)


def difference_text(metric: str, found: Difference | None) -> str:
    """`+0.52 ± 0.31`; a dash for None."""
    if found is None:
        return "–"
    return f"{number(metric, found.mean, '+')} ± {number(metric, found.ci95)}"


def tested_otherwise(one: Run, other: Run) -> tuple[str, ...]:
    """Those of the options `transductive` and `select` in which two runs' protocols differ."""
    protocols = [run.config["evaluation"] for run in (one, other)]
    return tuple(
        f"evaluation.{name}"
        for name in ("transductive", "select")
        if protocols[0].get(name) != protocols[1].get(name)
    )


def pair_up(
    ranked: Sequence[_Named], metric: str, step: int | None = None, column: str = ""
) -> Pairing:
    """Pair results that were tested on the same tasks.

    Args:
        ranked: name and runs of each result, best first; a single one is not left unpaired.
        metric: the metric to compare.
        step: after how many inner steps (None: the last).
        column: of the paper's table, kept in the pairs.
    """
    if len(ranked) < 2:
        return Pairing((), ())
    usable, left = [], []
    for name, runs in ranked:
        reason = _unusable(runs, metric, step)
        if reason is None:
            usable.append((name, runs))
        else:
            left.append(Left(str(name), reason))
    pairs, partners = [], set[int]()
    for group in _on_the_same_tasks(usable):
        for (other, theirs), (name, ours) in _couples(group):
            found = difference(ours, theirs, metric, step)
            if found is not None:
                otherwise = tested_otherwise(ours[0], theirs[0])
                seeds = _seeds(ours, theirs, found)
                pairs.append(Pair(name, other, metric, column, found, seeds, otherwise))
                partners |= {id(ours), id(theirs)}
    for name, runs in usable:
        if id(runs) not in partners:
            left.append(_alone(str(name), runs, [r[0] for _, r in ranked if r is not runs]))
    return Pairing(tuple(pairs), tuple(left))


def _unusable(runs: Sequence[Run], metric: str, step: int | None) -> str | None:
    scores = [run.by_task(metric, step) for run in runs]
    if any(of_run is None for of_run in scores):
        return "the scores of each test task were not kept"
    if not all(np.isfinite(of_run).all() for of_run in scores if of_run is not None):
        return "a score is not finite"
    return None


def _on_the_same_tasks(results: Sequence[_Named]) -> list[list[_Named]]:
    groups: list[list[_Named]] = []
    for named in results:
        alike = (g for g in groups if why_not(named[1][0], g[0][1][0]) is None)
        group = next(alike, None)
        if group is None:
            groups.append([named])
        else:
            group.append(named)
    return groups


def _couples(group: Sequence[_Named]) -> Iterator[tuple[_Named, _Named]]:
    """All pairs of a small group; in a large one with equal seeds, each result with the best.

    A large group with different seeds is split by seeds, and the best of each part is also paired
    with the best of all. With equal seeds, a difference is that of the two means.
    """
    by_seeds: dict[tuple[int, ...], list[_Named]] = {}
    for named in group:
        by_seeds.setdefault(tuple(run.seed for run in named[1]), []).append(named)
    if len(group) <= _ALL_PAIRS:
        yield from combinations(group, 2)
    elif len(by_seeds) == 1:
        yield from ((group[0], other) for other in group[1:])
    else:
        for best, *others in by_seeds.values():
            if best is not group[0]:
                yield group[0], best
            yield from _couples([best, *others])


def _alone(name: str, runs: Sequence[Run], others: Sequence[Run]) -> Left:
    """Why a result with all its scores is in no pair; `others` are the other results."""
    nearest = min(others, key=lambda other: len(_apart(runs[0], other)))
    apart = why_not(runs[0], nearest)
    if apart:
        return Left(name, "different test tasks", apart)
    return Left(name, "no other result on its test tasks has finite scores and a seed in common")


def _seeds(ours: Sequence[Run], theirs: Sequence[Run], found: Difference) -> str:
    own, others = ({run.seed for run in runs} for runs in (ours, theirs))
    paired = ", ".join(map(str, found.seeds))
    if own == others:
        return paired
    if own.isdisjoint(others):
        return f"{min(own)} against {min(others)}"
    return f"{_ONLY} {paired} in both"


def rank(found: Result | None) -> float:
    """The key by which results are sorted: best first, not finite or missing last."""
    if found is None or not found.is_finite:
        return float("inf")
    return -found.mean if found.higher_is_better else found.mean
