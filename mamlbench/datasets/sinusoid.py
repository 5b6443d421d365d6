"""Sinusoid regression: one task is one wave."""

from __future__ import annotations

import math

import numpy as np
import torch
from typing_extensions import override

from mamlbench.datasets.base import Dataset
from mamlbench.errors import require
from mamlbench.objectives import Regression
from mamlbench.tasks import Examples, TaskBatch


class Sinusoid(Dataset):
    """y = A sin(x - φ), A ~ U(amplitude), φ ~ U(phase), x ~ U(domain), without noise.

    The defaults are MAML's (arXiv 1703.03400, section 5.1): φ in [0, π] and K = 10. Reptile's
    (arXiv 1803.02999, section 4) has φ in [0, 2π].

    Args:
        shots: K points to adapt to at meta-test, and at meta-training without `train_shots`.
        queries: Q points that judge the adapted learner at meta-training.
        train_shots: K at meta-training.
        amplitude: lowest and highest amplitude.
        phase: lowest and highest phase, in units of π.
        domain: lowest and highest input.

    Raises:
        BadValue: a count below its least value, or an empty interval.
    """

    objective = Regression()
    input_shape = (1,)
    outputs = 1

    def __init__(
        self,
        shots: int = 10,
        queries: int = 10,
        train_shots: int | None = None,
        amplitude: tuple[float, float] = (0.1, 5.0),
        phase: tuple[float, float] = (0.0, 1.0),
        domain: tuple[float, float] = (-5.0, 5.0),
    ) -> None:
        super().__init__(shots, queries, train_shots)
        for option, interval in (("amplitude", amplitude), ("phase", phase), ("domain", domain)):
            ordered = len(interval) == 2 and interval[0] <= interval[1]
            require(ordered, option, list(interval), "[lowest, highest]")
        self.amplitude, self.phase, self.domain = amplitude, phase, domain
        self.device = torch.device("cpu")

    @property
    @override
    def setting(self) -> str:
        return f"{self.shots}shot"

    @override
    def load(self, device: torch.device) -> None:
        self.device = device

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        return 2 + shots + queries

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        amplitude = _between(u[:, 0], self.amplitude)
        phase = math.pi * _between(u[:, 1], self.phase)
        x = _between(u[:, 2:], self.domain)
        y = amplitude[:, None] * np.sin(x - phase[:, None])
        points = torch.from_numpy(np.stack([x, y]).astype(np.float32)).to(self.device)
        inputs, targets = points.unsqueeze(-1)
        return TaskBatch(
            support=Examples(inputs[:, :shots], targets[:, :shots]),
            query=Examples(inputs[:, shots:], targets[:, shots:]),
            info={"amplitude": amplitude, "phase": phase},
        )


def _between(u: np.ndarray, interval: tuple[float, float]) -> np.ndarray:
    low, high = interval
    return low + (high - low) * u
