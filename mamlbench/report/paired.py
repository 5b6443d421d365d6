"""Two learners on the same test tasks: the difference on each task, and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mamlbench.metrics import scale
from mamlbench.report.results import half_interval
from mamlbench.report.runs import Run
from mamlbench.report.settings import differences, flat

_OF_TRAINING = ("dataset.shots", "dataset.queries", "dataset.train_shots")


@dataclass(frozen=True)
class Difference:
    """The mean over tasks of one result less another, in the unit that is shown.

    Attributes:
        mean: over tasks, each task's being its mean over the seeds.
        ci95: half its 95% interval over tasks, paired.
        n_tasks: tasks that both were tested on.
        seeds: those that both ran.
    """

    mean: float
    ci95: float
    n_tasks: int
    seeds: tuple[int, ...]


def why_not(one: Run, other: Run) -> str | None:
    """Why two runs' test tasks are not the same, in words; None where they are.

    Task i depends on data, shots and queries alone: not on the run's seed, nor on how many tasks.
    """
    if one.dataset != other.dataset:
        return f"the datasets are {one.dataset} and {other.dataset}"
    for (name, first), second in zip(_tested_on(one).items(), _tested_on(other).values()):  # noqa: B905
        if first != second:
            return f"{name} is {first} and {second}"
    datasets = (flat(run.config, ("dataset",)) for run in (one, other))
    for name, (first, second) in differences(*datasets).items():
        if name not in _OF_TRAINING:
            return f"{name} is {first} and {second}"
    if one.summary.data_sha256 != other.summary.data_sha256:
        hashes = [str(run.summary.data_sha256)[:8] for run in (one, other)]
        return f"the data are not the same (sha256 {hashes[0]} and {hashes[1]})"
    return None


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
    """`ours` less `theirs`, paired by seed and task.

    None where no seed is in both, tasks' scores were not kept, or one that both have is not finite.
    Two single runs are paired by task whatever their seeds.
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
    factor = scale(metric)
    seeds = tuple(sorted({run.seed for pair in pairs for run in pair}))
    return Difference(
        factor * float(by_task.mean()), factor * half_interval(by_task), len(by_task), seeds
    )
