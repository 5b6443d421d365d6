"""The support set that a learner adapts to, and the result of adapting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mamlbench.networks.base import Params
from mamlbench.tasks import Examples


class FreshSupport(Protocol):
    """A support set of T tasks that is gathered anew at each inner step, such as rollouts."""

    def __len__(self) -> int:
        """T."""

    def __call__(self, step: int, params: Params) -> Examples:
        """The support set for inner step `step` (from 0), given the current parameters."""


Support = Examples | FreshSupport


@dataclass(frozen=True)
class Adapted:
    """A learner adapted to T tasks.

    Attributes:
        params: entry s has every network parameter after s inner steps: [T, ...] if it differs
            between tasks, otherwise [...]; with P particles [T*P, ...], the particles of a task
            next to each other.
        support: the support set, which non-transductive prediction and `norm=support` need again;
            None if it was gathered anew at each step.
        particles: P, sets of parameters per task.
    """

    params: list[Params]
    support: Examples | None
    particles: int = 1
