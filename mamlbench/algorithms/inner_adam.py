"""Adam without momentum as an inner optimiser, its second moments carried from task to task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamlbench.networks.base import Params

BETA2 = 0.999
EPSILON = 1e-8


@dataclass(frozen=True)
class Moments:
    """Adam's second moments by parameter ([...] or per task [T, ...]), and its count of steps."""

    second: Params
    steps: int

    def change(self, gradient: dict[str, Tensor], lr: float) -> tuple[dict[str, Tensor], Moments]:
        """What to subtract from each parameter, and the moments after it.

        With beta1 = 0, and epsilon added to the uncorrected root as TensorFlow does.
        """
        steps = self.steps + 1
        rate = lr * (1.0 - BETA2**steps) ** 0.5
        second = {n: torch.lerp(g.square(), self.second[n], BETA2) for n, g in gradient.items()}
        change = {n: rate * g / (second[n].sqrt() + EPSILON) for n, g in gradient.items()}
        return change, Moments(second, steps)

    def mean(self) -> Moments:
        """The mean over tasks, [...]."""
        return Moments({name: v.mean(0) for name, v in self.second.items()}, self.steps)


def average(shares: Sequence[tuple[float, Moments]]) -> Moments:
    """The weighted mean of several moments of one shape."""
    first = shares[0][1]
    second = {n: torch.stack([w * m.second[n] for w, m in shares]).sum(0) for n in first.second}
    return Moments(second, first.steps)
