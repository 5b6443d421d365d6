"""Bayesian MAML's sinusoids: amplitude, phase and frequency vary; training tasks may be few."""

from __future__ import annotations

import math

import numpy as np
from typing_extensions import override

from mamlbench.datasets.functions import Functions, Interval, between, require_intervals
from mamlbench.datasets.sampling import task_words, to_uniform
from mamlbench.errors import require
from mamlbench.tasks import TaskBatch

_OF_THE_SET = 0  # seed of the finite set: like class splits, it is independent of the run's seed


class HarmonicSinusoid(Functions):
    """y = A sin(w x - b), A ~ U(amplitude), b ~ U(phase), w ~ U(frequency), x ~ U(domain).

    Support targets have normal noise of standard deviation `noise_ratio` A, and so do query
    targets at meta-training; query targets at meta-validation and meta-test have no noise
    (arXiv 1806.03836, section 5.1).

    With `finite`, meta-training draws each task from |T| functions, with replacement. These
    functions are the same for every seed and every number of points. Meta-validation and meta-test
    draw as many tasks as the protocol says, from the whole distribution.

    Args:
        shots: K points to adapt to at meta-test, and at meta-training if `train_shots` is None.
        queries: Q points on which the adapted learner is evaluated at meta-training.
        train_shots: K at meta-training.
        finite: |T|, the number of functions to train on (None: unlimited).
        fixed_points: each of these functions always has the same K + Q noisy points, as in the
            released code; otherwise, new ones each time. Has no effect if `finite` is None.
        amplitude: lowest and highest A.
        phase: lowest and highest b, in units of π.
        frequency: lowest and highest w, in radians per unit of x.
        noise_ratio: standard deviation of the noise, as a fraction of A.
        domain: lowest and highest input.
        likelihood_std: see `Functions`.

    Raises:
        BadValue: a count below its minimum, an empty interval, or negative noise.
    """

    function_words = 3
    noisy = True

    def __init__(
        self,
        shots: int = 5,
        queries: int = 5,
        train_shots: int | None = None,
        finite: int | None = 100,
        fixed_points: bool = True,
        amplitude: Interval = (0.1, 5.0),
        phase: Interval = (0.0, 2.0),
        frequency: Interval = (0.5, 2.0),
        noise_ratio: float = 0.01,
        domain: Interval = (-5.0, 5.0),
        likelihood_std: float | None = None,
    ) -> None:
        super().__init__(shots, queries, train_shots, domain, likelihood_std=likelihood_std)
        require(finite is None or finite >= 1, "finite", finite, "1 or more, or null")
        require(0 <= noise_ratio < math.inf, "noise_ratio", noise_ratio, "0 or more")
        require_intervals(amplitude=amplitude, phase=phase, frequency=frequency)
        self.finite, self.fixed_points = finite, fixed_points
        self.amplitude, self.phase, self.frequency = amplitude, phase, frequency
        self.noise_ratio = noise_ratio

    @override
    def draw(self, split: str, u: np.ndarray) -> dict[str, np.ndarray]:
        if split == "train" and self.finite is not None:
            # the first of the three numbers chooses the function
            number = (u[:, 0] * self.finite).astype(np.int64)
            return {
                name: values[number] for name, values in self._functions(self._set()).items()
            } | {"function": number}
        return self._functions(u)

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        if split == "train" and self.finite is not None and self.fixed_points:
            number = (u[:, 0] * self.finite).astype(np.int64)
            words = u.shape[1] - self.function_words
            points = to_uniform(task_words(_OF_THE_SET, "points", 0, self.finite, words))
            u = np.concatenate([u[:, : self.function_words], points[number]], 1)
        return super().make(split, u, shots, queries)

    @override
    def curve(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        amplitude, phase, frequency = (
            info[name][:, None] for name in ("amplitude", "phase", "frequency")
        )
        return amplitude * np.sin(frequency * x - phase)

    @override
    def noise(self, info: dict[str, np.ndarray], split: str) -> tuple[np.ndarray, np.ndarray]:
        deviation = self.noise_ratio * info["amplitude"]
        return deviation, deviation if split == "train" else np.zeros_like(deviation)

    def _set(self) -> np.ndarray:
        """The random numbers that make the |T| functions, [|T|, 3]."""
        words = task_words(_OF_THE_SET, "functions", 0, self.finite or 0, self.function_words)
        return to_uniform(words)

    def _functions(self, u: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "amplitude": between(u[:, 0], self.amplitude),
            "phase": math.pi * between(u[:, 1], self.phase),
            "frequency": between(u[:, 2], self.frequency),
        }
