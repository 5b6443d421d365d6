"""Adam without momentum as an inner optimiser; its second moments can carry over between tasks."""

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
    """Adam's second moments by parameter ([...] or per task [T, ...]), and its step count.

    The count is a float64 tensor on the device if steps are captured as a CUDA graph.
    """

    second: Params
    steps: int | Tensor

    def step(
        self, params: Params, gradient: dict[str, Tensor], lr: float
    ) -> tuple[Params, Moments]:
        """The parameters and the moments after a step; no tensor is changed in place.

        beta1 is 0, and epsilon is added to the uncorrected root, as in TensorFlow.
        """
        names, steps = list(gradient), self.steps + 1
        at, by, of = ([each[name] for name in names] for each in (params, gradient, self.second))
        rate = lr * (1.0 - BETA2**steps) ** 0.5
        if isinstance(rate, Tensor):
            moved, second = _step(at, by, of, rate.to(by[0].dtype), BETA2, EPSILON)
        else:
            native = available(by[0]) and len({each.dtype for each in (*at, *by, *of)}) == 1
            step = adam_step if native else _step
            moved, second = step(at, by, of, rate, BETA2, EPSILON)
        moments = Moments(dict(zip(names, second, strict=True)), steps)
        return params | dict(zip(names, moved, strict=True)), moments

    def mean(self) -> Moments:
        """The mean of the moments over tasks, [...]."""
        return Moments({name: v.mean(0) for name, v in self.second.items()}, self.steps)


def _step(
    params: list[Tensor],
    gradients: list[Tensor],
    second: list[Tensor],
    rate: float | Tensor,
    decay: float,
    epsilon: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """See `adam_step`."""
    after = [
        v if v.shape == g.shape else v.expand_as(g).clone()
        for v, g in zip(torch._foreach_mul(second, decay), gradients, strict=True)
    ]
    torch._foreach_addcmul_(after, gradients, gradients, 1.0 - decay)
    roots = torch._foreach_add(torch._foreach_sqrt(after), epsilon)
    changes = torch._foreach_mul(torch._foreach_div(gradients, roots), rate)
    return list(torch._foreach_sub(params, changes)), after


def average(shares: Sequence[tuple[float, Moments]]) -> Moments:
    """The weighted mean of several moments of one shape."""
    first = shares[0][1]
    second = {n: torch.stack([w * m.second[n] for w, m in shares]).sum(0) for n in first.second}
    return Moments(second, first.steps)
