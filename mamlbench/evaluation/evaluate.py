"""Test a learner on many tasks, after each inner step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from mamlbench.algorithms.base import MetaLearner
from mamlbench.datasets.base import Dataset
from mamlbench.evaluation.protocol import Protocol
from mamlbench.evaluation.statistics import Estimate
from mamlbench.hardware import Hardware
from mamlbench.rl.gathering import acting, met_by

TEST_SEED = 0
"""Meta-validation and meta-test tasks do not depend on a run's seed, so runs can be paired."""


@dataclass(frozen=True)
class Scores:
    """Metrics of every task after every inner step.

    Attributes:
        by_task: metric name to [S+1, T].
    """

    by_task: dict[str, np.ndarray]

    def by_step(self) -> list[dict[str, dict[str, float | int]]]:
        """For each number of inner steps, each metric's mean, interval and number of tasks."""
        steps = len(next(iter(self.by_task.values())))
        return [
            {name: Estimate.of(values[s]).as_dict() for name, values in self.by_task.items()}
            for s in range(steps)
        ]

    def last(self) -> dict[str, Estimate]:
        """Each metric after the last inner step."""
        return {name: Estimate.of(values[-1]) for name, values in self.by_task.items()}

    def diverged(self) -> int:
        """Tasks whose adaptation ended in a loss that is not finite."""
        return int((~np.isfinite(self.by_task["loss"][-1])).sum())

    def rows(self) -> pd.DataFrame:
        """One row for each task and inner step: `task`, `step`, then the metrics."""
        steps, tasks = next(iter(self.by_task.values())).shape
        step, task = np.meshgrid(np.arange(steps), np.arange(tasks), indexing="ij")
        columns: dict[str, Any] = {"task": task.T.reshape(-1), "step": step.T.reshape(-1)}
        columns |= {name: values.T.reshape(-1) for name, values in self.by_task.items()}
        return pd.DataFrame(columns)


@torch.no_grad()
def evaluate(
    learner: MetaLearner,
    dataset: Dataset,
    split: str,
    protocol: Protocol,
    hardware: Hardware,
    tasks: int | None = None,
    every_step: bool = True,
) -> Scores:
    """Adapt to `tasks` tasks of a split and score the queries; the learner is left as it was.

    Args:
        learner: whom to test.
        dataset: loaded.
        split: `val` or `test`.
        protocol: shots, queries, inner steps, transduction.
        hardware: precision, and how many tasks to work on at a time.
        tasks: how many tasks (None: the protocol's).
        every_step: score after each inner step, not only after the last.
    """
    count = protocol.tasks if tasks is None else tasks
    shots, queries = protocol.shots_and_queries(dataset, split)
    support = dataset.ways * shots
    alone = 1 if protocol.transductive else support + 1
    rows = dataset.ways * queries * alone
    chunk = hardware.chunk(support + rows, dataset.input_shape) or count
    was_training = learner.training
    learner.eval()
    try:
        parts = [
            _score(
                learner,
                dataset,
                split,
                protocol,
                hardware,
                (first, min(chunk, count - first)),
                (shots, queries),
                every_step,
            )
            for first in range(0, count, chunk)
        ]
    finally:
        learner.train(was_training)
    names = parts[0].keys()
    return Scores({name: np.concatenate([part[name] for part in parts], 1) for name in names})


def _score(
    learner: MetaLearner,
    dataset: Dataset,
    split: str,
    protocol: Protocol,
    hardware: Hardware,
    place: tuple[int, int],
    sizes: tuple[int, int],
    every_step: bool,
) -> dict[str, np.ndarray]:
    tasks = hardware.cast(dataset.sample(split, TEST_SEED, *place, *sizes))
    tasks = acting(tasks, learner.network)
    adapted = learner.adapt(tasks.support, protocol.inner_steps)
    last = len(adapted.params) - 1
    metrics = []
    for step in range(last + 1) if every_step else [last]:
        query = met_by(tasks.query, step, adapted.params[step])
        outputs = learner.predict(adapted, query.x, step, protocol.transductive)
        metrics.append(learner.objective.metrics(outputs, query.y))
    return {
        name: torch.stack([m[name] for m in metrics]).double().cpu().numpy() for name in metrics[0]
    }
