"""MAML with noise: the baseline of PLATIPUS (arXiv 1806.02817) that samples without inference."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.maml import MAML
from mamlbench.algorithms.samples import as_params, as_vectors, expected_loss, fixed, repeated
from mamlbench.errors import one_of, require
from mamlbench.networks.base import Params
from mamlbench.noise import normal
from mamlbench.objectives import Objective
from mamlbench.tasks import Examples, TaskBatch


class MAMLWithNoise(MAML):
    """MAML with Gaussian noise in every inner step, at meta-training and at meta-test.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        noise_std: standard deviation of the noise.
        noise_on: `step`: φ ← φ − α ∇L + noise; `gradient`: φ ← φ − α (∇L + noise).
        train_particles: samples per task in a meta-training step.
        particles: P, samples per task at meta-test.
        options: the arguments of `MAML`.

    Raises:
        BadValue: an argument outside of its range.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        noise_std: float = 0.02,
        noise_on: str = "step",
        train_particles: int = 1,
        particles: int = 10,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("noise_on", noise_on, ("step", "gradient"))
        require(noise_std >= 0 and math.isfinite(noise_std), "noise_std", noise_std, "0 or more")
        for option, count in (("train_particles", train_particles), ("particles", particles)):
            require(count >= 1, option, count, "1 or more")
        self.noise_std, self.noise_on = noise_std, noise_on
        self.train_particles, self.particles = train_particles, particles

    @override
    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """P descents from θ, each with its own noise."""
        steps = self.inner_steps if steps is None else steps
        return self._adapt(fixed(support), steps, self.particles)

    @override
    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The query loss after the last inner step, averaged over the samples."""
        adapted = self._adapt(tasks.support, self.inner_steps, self.train_particles)
        outputs = self.predict(adapted, tasks.query.x)
        loss = expected_loss(self.objective, outputs, tasks.query.y)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return loss, metrics

    def _adapt(self, support: Examples, steps: int, particles: int) -> Adapted:
        batch = repeated(support, particles)
        params = [self.initial(len(support) * particles)]
        for step in range(steps):
            moved = self.inner_step(partial(self.descend, batch, step), params[-1])
            params.append(params[-1] | self._noisy(moved, support, particles, step))
        return self.adapted(params, support, particles)

    def _noisy(self, params: Params, support: Examples, particles: int, step: int) -> Params:
        names = self.adapted_names
        moved = as_vectors(params, names)
        noise = normal(support, (particles, moved.shape[1]), step, moved).flatten(0, 1)
        learned = self.learned_inner_lr
        rate = self.inner_lr if learned is None else learned
        scale = self.noise_std * (rate if self.noise_on == "gradient" else 1.0)
        return as_params(moved + scale * noise, params, names)
