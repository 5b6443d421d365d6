"""Adam without momentum as an inner optimiser, its second moments carried from task to task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamlbench.native import available
from mamlbench.native.adam import adam_step
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
        at, by, of = ([each[name] for name in names] for each in (params, gradient, self.second))
        step = adam_step if available(by[0]) else _step
        moved, second = step(at, by, of, rate, BETA2, EPSILON)
        moments = Moments(dict(zip(names, second, strict=True)), steps)
        return params | dict(zip(names, moved, strict=True)), moments

    def mean(self) -> Moments:
        """The mean over tasks, [...]."""
        return Moments({name: v.mean(0) for name, v in self.second.items()}, self.steps)


def _step(
    params: list[Tensor],
    gradients: list[Tensor],
    second: list[Tensor],
    rate: float,
    decay: float,
    epsilon: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """See `adam_step`."""
    after = [
        v if v.shape == g.shape else v.expand_as(g).clone()
        for v, g in zip(torch._foreach_mul(second, decay), gradients, strict=True)
    ]
    torch._foreach_addcmul_(after, gradients, gradients, 1.0 - decay)
    change = torch._foreach_sqrt(after)
    torch._foreach_add_(change, epsilon)
    moved = torch._foreach_addcdiv(params, gradients, change, -rate)
    return list(moved), after


def average(shares: Sequence[tuple[float, Moments]]) -> Moments:
    """The weighted mean of several moments of one shape."""
    first = shares[0][1]
    second = {n: torch.stack([w * m.second[n] for w, m in shares]).sum(0) for n in first.second}
    return Moments(second, first.steps)
