"""Sines and lines: regression where five points may not reveal the kind of function."""

from __future__ import annotations

import math

import numpy as np
from typing_extensions import override

from mamlbench.datasets.functions import Functions, Interval, between, require_intervals
from mamlbench.errors import require


class SineLine(Functions):
    """Half of the tasks are y = A sin(x - φ), half y = a x + b, all with noise on the targets.

    A ~ U(amplitude), φ ~ U(phase), a ~ U(slope), b ~ U(intercept), x ~ U(domain). PLATIPUS
    (arXiv 1806.02817) and LEO (arXiv 1807.05960) learn it from 5 points. Support and query targets
    have the same noise, so the expected mean squared error is never below the noise's variance.

    Args:
        shots: K points to adapt to at meta-test, and at meta-training if `train_shots` is None.
        queries: Q points on which the adapted learner is evaluated at meta-training.
        train_shots: K at meta-training.
        amplitude: lowest and highest amplitude of a sine.
        phase: lowest and highest phase of a sine, in units of π.
        slope: lowest and highest slope of a line.
        intercept: lowest and highest value of a line at 0.
        noise_std: standard deviation of the noise.
        domain: lowest and highest input.

    Raises:
        BadValue: a count below its minimum, an empty interval, or a negative deviation.
    """

    function_words = 3

    def __init__(
        self,
        shots: int = 5,
        queries: int = 10,
        train_shots: int | None = None,
        amplitude: Interval = (0.1, 5.0),
        phase: Interval = (0.0, 1.0),
        slope: Interval = (-3.0, 3.0),
        intercept: Interval = (-3.0, 3.0),
        noise_std: float = 0.3,
        domain: Interval = (-5.0, 5.0),
    ) -> None:
        require(noise_std >= 0 and math.isfinite(noise_std), "noise_std", noise_std, "0 or more")
        super().__init__(shots, queries, train_shots, domain, likelihood_std=noise_std or None)
        require_intervals(amplitude=amplitude, phase=phase, slope=slope, intercept=intercept)
        self.amplitude, self.phase = amplitude, phase
        self.slope, self.intercept = slope, intercept
        self.noise_std = noise_std
        self.noisy = noise_std > 0

    @override
    def draw(self, split: str, u: np.ndarray) -> dict[str, np.ndarray]:
        """`line` (False: a sine) and the parameters; those of the other kind are 0."""
        line = u[:, 0] < 0.5
        return {
            "line": line,
            "amplitude": np.where(line, 0.0, between(u[:, 1], self.amplitude)),
            "phase": np.where(line, 0.0, math.pi * between(u[:, 2], self.phase)),
            "slope": np.where(line, between(u[:, 1], self.slope), 0.0),
            "intercept": np.where(line, between(u[:, 2], self.intercept), 0.0),
        }

    @override
    def curve(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        amplitude, phase, slope, intercept = (
            info[name][:, None] for name in ("amplitude", "phase", "slope", "intercept")
        )
        return amplitude * np.sin(x - phase) + slope * x + intercept

    @override
    def noise(self, info: dict[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
        each = np.full(len(info["line"]), self.noise_std)
        return each, each
