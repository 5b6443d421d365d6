"""EMAML: an ensemble of MAMLs, the baseline of Bayesian MAML (arXiv 1806.03836, section 5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.base import Adapted, Support
from mamlbench.algorithms.maml import MAML
from mamlbench.algorithms.particles import Particles
from mamlbench.networks.base import Params
from mamlbench.objectives import Objective
from mamlbench.tasks import Examples, TaskBatch


class EMAML(Particles, MAML):
    """P MAMLs with initialisations of their own, whose predictions are averaged.

    Each learns as it would alone. Heads over shared features (`particles_of=head`) meet in the
    features only, whose gradient is the sum of theirs.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        options: the arguments of `Particles` and of `MAML`.
    """

    replayable = True

    def __init__(self, network: nn.Module, objective: Objective, **options: Any) -> None:
        super().__init__(network, objective, **options)

    @override
    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Each particle descends its own support loss."""
        return self.adapted_particles(super().adapt(support, steps).params, support)

    @override
    def descend(self, batch: Examples, step: int, params: Params) -> Params:
        return super().descend(self.examples(batch), step, params)

    @override
    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the particles' query losses after the last inner step."""
        outputs = self.predict(self.adapt(tasks.support), tasks.query.x)
        y = tasks.query.y.unsqueeze(1).expand(-1, self.particles, *tasks.query.y.shape[1:])
        losses = self.objective.loss(outputs.flatten(0, 1), y.flatten(0, 1))
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return losses.unflatten(0, (-1, self.particles)).sum(1), metrics
