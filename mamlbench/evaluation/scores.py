"""The scores of a test, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mamlbench.estimate import Estimate
from mamlbench.evaluation.calibration import Reliability


@dataclass(frozen=True)
class Scores:
    """Metrics of every task after some or all inner steps.

    Attributes:
        by_task: metric name to [R, T].
        steps: the number of inner steps before each of the R scores.
        reliability: the queries of all tasks, binned by confidence; None without confidences.
    """

    by_task: dict[str, np.ndarray]
    steps: tuple[int, ...]
    reliability: Reliability | None = None

    @property
    def tasks(self) -> int:
        """Number of tasks T."""
        return next(iter(self.by_task.values())).shape[1]

    @classmethod
    def of_parts(cls, parts: Sequence[Scores]) -> Scores:
        """Join scores of disjoint parts of the tasks."""
        names = parts[0].by_task
        by_task = {name: np.concatenate([p.by_task[name] for p in parts], 1) for name in names}
        bins = [part.reliability.bins for part in parts if part.reliability is not None]
        reliability = Reliability(np.concatenate(bins, 1)) if bins else None
        return cls(by_task, parts[0].steps, reliability)

    def by_step(self) -> list[dict[str, dict[str, float | int]] | None]:
        """Each metric's mean, interval and number of tasks after 0, 1, ... inner steps.

        None stands for steps that were not scored. `ece`, if there are confidences, is over all
        queries together (see `Reliability`).
        """
        entries = [
            {name: Estimate.of(values[r]).as_dict() for name, values in self.by_task.items()}
            for r in range(len(self.steps))
        ]
        if self.reliability is not None:
            for entry, error in zip(entries, self.reliability.errors(), strict=True):
                entry["ece"] = error.as_dict()
        scored = dict(zip(self.steps, entries, strict=True))
        return [scored.get(step) for step in range(self.steps[-1] + 1)]

    def last(self) -> dict[str, Estimate]:
        """Each metric after the last inner step, averaged over tasks; without `ece`."""
        return {name: Estimate.of(values[-1]) for name, values in self.by_task.items()}

    def diverged(self) -> int:
        """Number of tasks whose loss after adaptation is not finite."""
        return int((~np.isfinite(self.by_task["loss"][-1])).sum())

    def rows(self) -> pd.DataFrame:
        """One row per task and score: `task`, `step`, then the metrics."""
        step, task = np.meshgrid(self.steps, np.arange(self.tasks), indexing="ij")
        columns: dict[str, Any] = {"task": task.T.reshape(-1), "step": step.T.reshape(-1)}
        columns |= {name: values.T.reshape(-1) for name, values in self.by_task.items()}
        return pd.DataFrame(columns)
