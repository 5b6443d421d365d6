"""Means of the metrics of outer steps between two rows of the log."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Sums that stay on the metrics' device, so that no step waits for them.

    Attributes:
        sums: sum of each metric.
        steps: number of steps in the sums.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps: Tensor | int = 0

    def add(self, metrics: Mapping[str, Tensor], counts: Tensor | int = 1) -> None:
        """Add a step's metrics [T]; a step with `counts` 0 changed nothing and is left out."""
        self.steps = self.steps + counts
        for name, values in metrics.items():
            mean = values.double().mean()
            if isinstance(counts, Tensor):
                mean = torch.where(counts > 0, mean, 0.0)
            self.sums[name] = self.sums[name] + mean if name in self.sums else mean

    def take(self) -> dict[str, float]:
        """The means since the last call, empty if no step counted; starts new sums."""
        steps, sums = int(self.steps), self.sums
        self.sums, self.steps = {}, 0
        return {name: float(value) / steps for name, value in sums.items()} if steps else {}
