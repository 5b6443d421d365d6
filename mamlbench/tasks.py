"""What datasets pass to algorithms: batches of tasks.

Shapes in this project's docstrings share one legend: T tasks, N ways, K shots, Q queries per class,
M examples of one task (N*K or N*Q), S inner steps, P particles or posterior samples, C classes or
outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """One side (support or query) of a batch of tasks.

    Attributes:
        x: inputs, [T, M, ...]; images are [T, M, channels, height, width].
        y: targets, [T, M] class numbers (int64) or [T, M, C] real values.
        seeds: [T] int64, on the host: one per task, for all random numbers that an algorithm draws
            while adapting to these examples. Like the task itself, a seed depends only on
            (seed, split, index).
    """

    x: Tensor
    y: Tensor
    seeds: np.ndarray | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, tasks: slice) -> Examples:
        seeds = None if self.seeds is None else self.seeds[tasks]
        return Examples(self.x[tasks], self.y[tasks], seeds)

    def together(self, other: Examples) -> Examples:
        """These examples joined with the other side's, for each task."""
        return replace(
            self,
            x=torch.cat([self.x, other.x], dim=1),
            y=torch.cat([self.y, other.y], dim=1),
        )


@dataclass(frozen=True)
class TaskBatch:
    """T tasks, already on the device where they will be used.

    Attributes:
        support: the examples that a learner adapts to.
        query: the examples on which the adapted learner is evaluated.
        info: facts about how each task was made, such as a sinusoid's amplitude ([T, ...] arrays);
            for figures and metrics, never for learning.
    """

    support: Examples
    query: Examples
    info: dict[str, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, tasks: slice) -> TaskBatch:
        info = self.info and {name: values[tasks] for name, values in self.info.items()}
        return TaskBatch(self.support[tasks], self.query[tasks], info)

    def chunks(self, size: int) -> Iterator[TaskBatch]:
        """The same tasks, at most `size` at a time."""
        numbered = self.with_seeds()
        for first in range(0, len(self), size):
            yield numbered[first : first + size]

    def with_seeds(self) -> TaskBatch:
        """The same tasks; examples without seeds get 0 to T-1, which their parts then keep."""
        support, query = (
            replace(side, seeds=np.arange(len(self)))
            if isinstance(side, Examples) and side.seeds is None
            else side
            for side in (self.support, self.query)
        )
        return TaskBatch(support, query, self.info)
