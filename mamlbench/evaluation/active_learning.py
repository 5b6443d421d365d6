"""Active learning: a learner asks for the labels that it is least sure of, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mamlbench.algorithms.adapted import Adapted
from mamlbench.algorithms.base import MetaLearner
from mamlbench.datasets.base import Dataset
from mamlbench.errors import BadValue, require
from mamlbench.estimate import Estimate
from mamlbench.evaluation.evaluate import TEST_SEED, in_evaluation, tasks_at_a_time
from mamlbench.evaluation.protocol import Protocol
from mamlbench.hardware.device import Hardware
from mamlbench.noise import normal
from mamlbench.tasks import Examples, TaskBatch

UNCERTAINTY, RANDOM = "uncertainty", "random"
_ORDER = 2**40  # a `place` for `normal` that no algorithm uses for its own draws


@dataclass(frozen=True)
class ActiveLearning:
    """Metrics of every task after every requested label.

    Attributes:
        by_task: strategy (`uncertainty`, `random`) to metric to [n+1, T]. If the learner's
            predictions cannot say how uncertain they are, only `random` is there.
        points: strategy to [n, T], which point of the pool was asked for in each round.
        criterion: the measure of uncertainty, in words.
    """

    by_task: dict[str, dict[str, np.ndarray]]
    points: dict[str, np.ndarray]
    criterion: str

    def summary(self) -> dict[str, Any]:
        """The entry in `summary.json`: `curve`, whose entry i is after i labels.

        An entry has each metric's mean and interval by strategy, and as `difference` those of
        the uncertain minus the random choice, paired by task.
        """
        compared = dict(self.by_task)
        if UNCERTAINTY in compared:
            pairs = self.by_task[UNCERTAINTY], self.by_task[RANDOM]
            compared["difference"] = {n: v - pairs[1][n] for n, v in pairs[0].items()}
        labels = len(next(iter(self.by_task[RANDOM].values())))
        curve = [
            {
                name: {metric: Estimate.of(v[i]).as_dict() for metric, v in metrics.items()}
                for name, metrics in compared.items()
            }
            for i in range(labels)
        ]
        return {"criterion": self.criterion if UNCERTAINTY in compared else None, "curve": curve}

    def rows(self) -> pd.DataFrame:
        """One row per task, strategy and number of labels: `task, strategy, queried, point`.

        The metrics follow; `point` is the pool point labelled last (-1: none yet).
        """
        parts = []
        for strategy, metrics in self.by_task.items():
            points = self.points[strategy]
            points = np.concatenate([np.full_like(points[:1], -1), points])
            queried, task = np.indices(points.shape)
            columns = {"task": task, "strategy": None, "queried": queried, "point": points}
            values = {n: v if v is None else v.reshape(-1) for n, v in (columns | metrics).items()}
            parts.append(pd.DataFrame(values | {"strategy": strategy}))
        return pd.concat(parts).sort_values(["task", "strategy", "queried"], ignore_index=True)


@torch.no_grad()
def active_learning(
    learner: MetaLearner, dataset: Dataset, protocol: Protocol, hardware: Hardware
) -> ActiveLearning:
    """Let a learner ask for labels of meta-test tasks; the learner is left unchanged.

    A task is its K-shot support set, a pool of `protocol.active_pool` other examples, and queries.
    In each of `protocol.active_rounds` rounds one point of the pool moves to the support set:
    either the one with the most uncertain prediction or a random one. The learner then adapts
    anew, from its initial parameters. Both strategies have the same tasks, pools and queries.
    Algorithms that draw random numbers draw the same ones in every round.

    Raises:
        BadValue: more rounds than pool points, or more pool points than the dataset has examples.
    """
    sizes = active_sizes(dataset, protocol)
    shots, queries = sizes
    grown = shots + -(-protocol.active_rounds // dataset.ways)
    chunk = tasks_at_a_time(learner, dataset, protocol, hardware, grown, queries)
    parts = []
    with in_evaluation(learner):
        for first in range(0, protocol.tasks, chunk):
            place = first, min(chunk, protocol.tasks - first)
            tasks = hardware.cast(dataset.sample("test", TEST_SEED, *place, *sizes))
            support, pool, query = with_pool(tasks, protocol.active_pool)
            asking = _Asking(learner, protocol, pool, query)
            found = {name: asking.learn(support, name) for name in (UNCERTAINTY, RANDOM)}
            parts.append({name: curve for name, curve in found.items() if curve is not None})
    strategies = parts[0].keys()
    return ActiveLearning(
        {
            name: {
                metric: np.concatenate([part[name][0][metric] for part in parts], axis=1)
                for metric in parts[0][name][0]
            }
            for name in strategies
        },
        {name: np.concatenate([part[name][1] for part in parts], axis=1) for name in strategies},
        learner.objective.uncertainty_in_words,
    )


def active_sizes(dataset: Dataset, protocol: Protocol) -> tuple[int, int]:
    """K, and the queries per class from which the pool and the test's queries are drawn.

    Raises:
        BadValue: more rounds than pool points, or more pool points than the dataset has examples.
    """
    pool, rounds = protocol.active_pool, protocol.active_rounds
    require(rounds <= pool, "active_rounds", rounds, f"0 to {pool}, the size of active_pool")
    shots, queries = protocol.shots_and_queries(dataset, "test")
    if protocol.queries != "remaining":
        queries += -(-pool // dataset.ways)
    try:
        dataset.sample("test", TEST_SEED, 0, 1, shots, queries)
    except BadValue as error:
        needed = f"with the pool, a class needs {error.found} {error.option}"
        fewer = f"fewer: {needed}, but accepted is {error.accepted}"
        raise BadValue("active_pool", pool, fewer) from error
    enough = pool < queries * dataset.ways
    require(enough, "active_pool", pool, f"1 to {queries * dataset.ways - 1}: queries must remain")
    return shots, queries


def with_pool(tasks: TaskBatch, size: int) -> tuple[Examples, Examples, Examples]:
    """Support, a pool of `size` examples in random order, and the remaining queries.

    Which queries form the pool depends only on the task's seed. Classes may be unequally frequent
    in the pool.
    """
    query = tasks.query
    keys = normal(tasks.support, query.x.shape[1:2], _ORDER, query.x)
    order = keys.argsort(dim=1)
    return tasks.support, _rows(query, order[:, :size]), _rows(query, order[:, size:])


class _Asking:
    """The rounds of one chunk of tasks."""

    def __init__(
        self, learner: MetaLearner, protocol: Protocol, pool: Examples, query: Examples
    ) -> None:
        self.learner, self.protocol, self.pool, self.query = learner, protocol, pool, query

    def learn(
        self, support: Examples, strategy: str
    ) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
        """Metrics [n+1, T] and points [n, T]; None if the uncertainty is unknown."""
        objective = self.learner.objective
        left = self.pool.x.new_ones(self.pool.x.shape[:2], dtype=torch.bool)
        metrics, points = [], []
        for asked in range(self.protocol.active_rounds + 1):
            adapted = self.learner.adapt(support, self.protocol.inner_steps)
            metrics.append(objective.scores(self._predict(adapted, self.query), self.query.y))
            if asked == self.protocol.active_rounds:
                break
            # random means in the order of the pool, which is random
            preference: Tensor | None = -torch.arange(left.shape[1], device=left.device).float()
            if strategy == UNCERTAINTY:
                preference = objective.uncertainty(self._predict(adapted, self.pool))
            if preference is None:
                return None
            point = torch.where(left, preference, -torch.inf).argmax(dim=1, keepdim=True)
            left = left.scatter(1, point, False)
            support = support.together(_rows(self.pool, point))
            points.append(point.squeeze(1))
        by_name = {name: _stacked([m[name] for m in metrics]).astype(float) for name in metrics[0]}
        return by_name, _stacked(points)

    def _predict(self, adapted: Adapted, examples: Examples) -> Tensor:
        return self.learner.predict(adapted, examples.x, -1, self.protocol.transductive)


def _rows(examples: Examples, rows: Tensor) -> Examples:
    """The examples at `rows`, [T, n], of each task."""
    task = torch.arange(len(examples), device=rows.device).unsqueeze(1)
    return replace(examples, x=examples.x[task, rows], y=examples.y[task, rows])


def _stacked(values: list[Tensor]) -> np.ndarray:
    return torch.stack(values).cpu().numpy()
