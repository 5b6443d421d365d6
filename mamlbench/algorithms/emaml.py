"""EMAML: an ensemble of MAMLs, the baseline of Bayesian MAML (arXiv 1806.03836, section 5)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.maml import MAML
from mamlbench.algorithms.particles import Particles, require_no_trust_region
from mamlbench.errors import one_of, require
from mamlbench.networks.base import Params, trainable_names
from mamlbench.objectives import Objective
from mamlbench.tasks import Examples, TaskBatch

META_LOSSES = ("query", "reptile")


class EMAML(Particles, MAML):
    """P MAMLs with separate initialisations, whose predictions are averaged.

    Each learns as it would alone, except that all share a learned inner rate. Heads over shared
    features (`particles_of=head`) interact only through the features, whose gradient is the sum
    over heads.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        meta_loss: `query`, the query loss after the last inner step; `reptile`, the distance from
            each particle to its adapted parameters, through which no gradient flows (a comparison
            for policies in the paper's code).
        options: the arguments of `Particles` and of `MAML`.

    Raises:
        BadValue: an argument outside of its range.
    """

    replayable = True

    def __init__(
        self, network: nn.Module, objective: Objective, *, meta_loss: str = "query", **options: Any
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("meta_loss", meta_loss, META_LOSSES)
        self.to_adapted = meta_loss == "reptile"
        if self.to_adapted:
            require_no_trust_region("reptile", "query", **options)
            moves = len(self.adapted_names) == len(trainable_names(network))
            accepted = "query if the inner loop does not move every parameter"
            require(moves, "meta_loss", meta_loss, accepted)
            learned = self.learned_inner_lr is not None
            require(not learned, "learn_inner_lr", True, "false if meta_loss=reptile")

    @override
    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Each particle descends its own support loss."""
        return self.adapted_particles(super().adapt(support, steps).params, support)

    @override
    def descend(self, batch: Examples, step: int, params: Params) -> Params:
        return super().descend(self.examples(batch), step, params)

    @override
    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the particles' meta-losses, and metrics after the last inner step."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.to_adapted):
            adapted = self.adapt(tasks.support)
            outputs = self.predict(adapted, tasks.query.x)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        if self.to_adapted:
            return self._distance(adapted, len(tasks)), metrics
        losses = self.objective.loss(outputs.flatten(0, 1), self.examples(tasks.query).y)
        return losses.unflatten(0, (-1, self.particles)).sum(1), metrics

    def _distance(self, adapted: Adapted, tasks: int) -> Tensor:
        """Σ_m ‖θ_m − φ_m‖ between initial and adapted particles, [T]."""
        ends, starts = adapted.params[-1], self.initial(tasks)
        moved = [self.as_vectors(p, self.adapted_names) for p in (ends, starts)]
        return torch.linalg.vector_norm(moved[0] - moved[1], dim=2).sum(1)
