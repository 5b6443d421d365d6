"""Outer optimisers, schedules of their step size, and the memory layout of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn

from mamlbench.rl.trust_region import TrustRegion

SCHEDULES = ("constant", "linear", "cosine", "exponential")
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "sgd": partial(torch.optim.SGD, fused=True),
    "trpo": TrustRegion,
}


def scheduled(name: str, final: float, iterations: int, every: int) -> Callable[[int], float]:
    """The factor on the outer step size, as a function of the outer steps taken so far.

    Args:
        name: one of `SCHEDULES`.
        final: the factor at the end.
        iterations: outer steps until the end.
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


def lay_out_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give gradients the memory layout of their parameters, which fused optimisers assume.

    Autograd ensures this; an algorithm that makes its own gradients may not.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(gradient)
