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

    def step(
        self, params: Params, gradient: dict[str, Tensor], lr: float
    ) -> tuple[Params, Moments]:
        """The parameters after a step, and the moments after it; all tensors are new.

        With beta1 = 0, and epsilon added to the uncorrected root as TensorFlow does.
        """
        names, steps = list(gradient), self.steps + 1
        rate = lr * (1.0 - BETA2**steps) ** 0.5
        gradients = list(gradient.values())
        decayed = torch._foreach_mul([self.second[name] for name in names], BETA2)
        second = [
            v if v.shape == g.shape else v.expand_as(g).clone()
            for v, g in zip(decayed, gradients, strict=True)
        ]
        torch._foreach_addcmul_(second, gradients, gradients, 1.0 - BETA2)
        change = torch._foreach_sqrt(second)
        torch._foreach_add_(change, EPSILON)
        moved = torch._foreach_addcdiv([params[name] for name in names], gradients, change, -rate)
        moments = Moments(dict(zip(names, second, strict=True)), steps)
        return params | dict(zip(names, moved, strict=True)), moments

    def mean(self) -> Moments:
        """The mean over tasks, [...]."""
        return Moments({name: v.mean(0) for name, v in self.second.items()}, self.steps)


def average(shares: Sequence[tuple[float, Moments]]) -> Moments:
    """The weighted mean of several moments of one shape."""
    first = shares[0][1]
    second = {n: torch.stack([w * m.second[n] for w, m in shares]).sum(0) for n in first.second}
    return Moments(second, first.steps)
