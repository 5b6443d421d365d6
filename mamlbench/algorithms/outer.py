"""Optimisers of the outer loop, and how their step size goes down."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch

from mamlbench.rl.trust_region import TrustRegion

SCHEDULES = ("constant", "linear", "cosine", "exponential")
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, fused=True),
    "trpo": TrustRegion,
}


def scheduled(name: str, final: float, iterations: int, every: int) -> Callable[[int], float]:
    """The factor on the outer step size, as a function of the outer steps done.

    Args:
        name: one of `SCHEDULES`.
        final: the factor at the end.
        iterations: when the end is.
        every: outer steps from one change to the next.
    """

    def factor(step: int) -> float:
        if name == "constant":
            return 1.0
        done = min(step // every * every / max(iterations, 1), 1.0)
        if name == "exponential":
            return float(final**done)
        left = 1.0 - done if name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return final + (1.0 - final) * left

    return factor
