"""Sinusoid regression: one task is one wave."""

from __future__ import annotations

import math

import numpy as np
from typing_extensions import override

from mamlbench.datasets.functions import Functions, Interval, between, require_intervals


class Sinusoid(Functions):
    """y = A sin(x - φ), A ~ U(amplitude), φ ~ U(phase), x ~ U(domain), without noise.

    The defaults are MAML's (arXiv 1703.03400, section 5.1): φ in [0, π] and K = 10. Reptile's
    (arXiv 1803.02999, section 4) has φ in [0, 2π].

    Args:
        shots: K points to adapt to at meta-test, and at meta-training if `train_shots` is None.
        queries: Q points on which the adapted learner is evaluated at meta-training.
        train_shots: K at meta-training.
        amplitude: lowest and highest amplitude.
        phase: lowest and highest phase, in units of π.
        domain: lowest and highest input.
        likelihood_std: standard deviation of the normal likelihood for the test's `nll` (None: no
            `nll`); the targets themselves have no noise.
        oracle: inputs are (x, A, φ): MAML's baseline of a network that knows the task.

    Raises:
        BadValue: a count below its minimum, an empty interval, or a deviation that is not
            positive.
    """

    function_words = 2

    def __init__(
        self,
        shots: int = 10,
        queries: int = 10,
        train_shots: int | None = None,
        amplitude: Interval = (0.1, 5.0),
        phase: Interval = (0.0, 1.0),
        domain: Interval = (-5.0, 5.0),
        likelihood_std: float | None = None,
        oracle: bool = False,
    ) -> None:
        super().__init__(shots, queries, train_shots, domain, likelihood_std)
        require_intervals(amplitude=amplitude, phase=phase)
        self.amplitude, self.phase, self.oracle = amplitude, phase, oracle
        self.input_shape = (3 if oracle else 1,)

    @override
    def draw(self, split: str, u: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "amplitude": between(u[:, 0], self.amplitude),
            "phase": math.pi * between(u[:, 1], self.phase),
        }

    @property
    @override
    def setting(self) -> str:
        return f"{super().setting}_oracle" if self.oracle else super().setting

    @override
    def inputs(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        if not self.oracle:
            return super().inputs(info, x)
        told = [np.broadcast_to(info[n][:, None], x.shape) for n in ("amplitude", "phase")]
        return np.stack([x, *told], axis=-1)

    @override
    def curve(self, info: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        return info["amplitude"][:, None] * np.sin(x - info["phase"][:, None])
