"""Means over tasks and their confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Estimate:
    """A mean over tasks.

    Attributes:
        mean: the mean.
        ci95: half the width of its 95% confidence interval over tasks (Student's t); NaN for a
            single task.
        n_tasks: number of tasks.
    """

    mean: float
    ci95: float
    n_tasks: int

    @classmethod
    def of(cls, values: np.ndarray) -> Estimate:
        """The estimate from one value per task, [T]."""
        values = np.asarray(values, dtype=np.float64)
        count = len(values)
        half = math.nan
        if count > 1:
            half = float(stdtrit(count - 1, 0.975) * values.std(ddof=1) / math.sqrt(count))
        return cls(float(values.mean()), half, count)

    def as_dict(self) -> dict[str, float | int]:
        """The entry in `summary.json`."""
        return {"mean": self.mean, "ci95": self.ci95, "n_tasks": self.n_tasks}
