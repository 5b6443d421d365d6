"""Regression problems whose tasks are functions of one variable."""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from scipy.special import ndtri
from typing_extensions import override

from mamlbench.datasets.base import Dataset
from mamlbench.errors import require
from mamlbench.hardware.transfer import on_device
from mamlbench.objectives import Regression
from mamlbench.tasks import Examples, TaskBatch

Interval = tuple[float, float]


class Functions(Dataset):
    """One task is one function on an interval, seen at points drawn uniformly.

    A subclass defines how many random numbers a function needs (`function_words`), how they become
    a function (`draw`), and its values (`curve`); with noisy targets, also `noisy` and `noise`.

    Args:
        shots: K points to adapt to at meta-test, and at meta-training if `train_shots` is None.
        queries: Q points on which the adapted learner is evaluated at meta-training.
        train_shots: K at meta-training.
        domain: lowest and highest input.
        likelihood_std: standard deviation of the normal likelihood for the test's `nll` (None: no
            `nll`).

    Raises:
        BadValue: a count below its minimum, an empty interval, or a deviation that is not
            positive.
    """

    input_shape = (1,)
    outputs = 1

    def __init__(
        self,
        shots: int,
        queries: int,
        train_shots: int | None = None,
        domain: Interval = (-5.0, 5.0),
        likelihood_std: float | None = None,
    ) -> None:
        super().__init__(shots, queries, train_shots)
        require_intervals(domain=domain)
        self.objective = Regression(likelihood_std)
        self.domain = domain
        self.device = torch.device("cpu")

    @property
    @abstractmethod
    def function_words(self) -> int:
        """How many random numbers make one function."""

    @abstractmethod
    def draw(self, split: str, u: np.ndarray) -> dict[str, np.ndarray]:
        """Functions made from u, [T, function_words] uniform in [0, 1), as named values [T]."""

    @abstractmethod
    def curve(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """Values without noise, [T, n], of the functions from `draw` at x, [T, n] or [n]."""

    def inputs(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        """Network inputs [T, n, D] for x [T, n]: here x itself."""
        del info
        return x[..., None]

    def noise(self, info: dict[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviations [T] of the normal noise on support and on query targets."""
        del split
        none = np.zeros(len(next(iter(info.values()))))
        return none, none

    noisy = False
    """Whether targets have noise; if not, no random numbers are spent on noise."""

    @property
    @override
    def setting(self) -> str:
        return f"{self.shots}shot"

    @override
    def load(self, device: torch.device) -> None:
        self.device = device

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        return self.function_words + (shots + queries) * (2 if self.noisy else 1)

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        own, points = self.function_words, shots + queries
        info = self.draw(split, u[:, :own])
        x = between(u[:, own : own + points], self.domain)
        y = self.curve(info, x)
        if self.noisy:
            each = ndtri(u[:, own + points :].clip(2.0**-53))
            support, query = (deviation[:, None] for deviation in self.noise(info, split))
            y = y + each * np.where(np.arange(points) < shots, support, query)
        sides = (self.inputs(info, x), y[..., None])
        inputs, targets = (on_device(v.astype(np.float32), self.device) for v in sides)
        return TaskBatch(
            support=Examples(inputs[:, :shots], targets[:, :shots]),
            query=Examples(inputs[:, shots:], targets[:, shots:]),
            info=info,
        )


def between(u: np.ndarray, interval: Interval) -> np.ndarray:
    """Map numbers uniform in [0, 1) to numbers uniform in an interval."""
    low, high = interval
    return low + (high - low) * u


def require_intervals(**intervals: Interval) -> None:
    """Raise `BadValue`, naming the option, for an interval that is empty or not finite."""
    for option, interval in intervals.items():
        ordered = len(interval) == 2 and -math.inf < interval[0] <= interval[1] < math.inf
        require(ordered, option, list(interval), "[lowest, highest], both finite")
