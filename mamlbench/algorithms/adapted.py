"""What a learner adapts to, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mamlbench.networks.base import Params
from mamlbench.tasks import Examples


class FreshSupport(Protocol):
    """A support set of T tasks that is gathered anew at each inner step, as rollouts are."""

    def __len__(self) -> int:
        """T."""

    def __call__(self, step: int, params: Params) -> Examples:
        """The support set for inner step `step` (from 0), given the parameters so far."""


Support = Examples | FreshSupport


@dataclass(frozen=True)
class Adapted:
    """A learner adapted to T tasks.

    Attributes:
        params: entry s has every network parameter after s inner steps, [T, ...] where it differs
            from task to task and [...] where it does not; with P particles [T*P, ...], those of one
            task next to each other.
        support: what it was adapted to, which prediction without transduction needs again; None
            where it was fresh at each step.
        particles: P, parameters of each task.
    """

    params: list[Params]
    support: Examples | None
    particles: int = 1
