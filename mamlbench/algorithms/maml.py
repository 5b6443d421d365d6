"""MAML and its first-order form (Finn, Abbeel and Levine, ICML 2017, arXiv 1703.03400)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner
from mamlbench.networks.base import Params
from mamlbench.objectives import Objective
from mamlbench.tasks import Examples, TaskBatch


def moved(parameter: Tensor, gradient: Tensor, rate: float | Tensor) -> Tensor:
    """A parameter after a step of gradient descent."""
    if isinstance(rate, Tensor):
        return parameter - rate * gradient
    return torch.sub(parameter, gradient, alpha=rate)  # saves an operation


class MAML(MetaLearner):
    """Algorithm 2: learn initial parameters that adapt well in a few gradient steps.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        first_order: treat the inner gradients as constants (FOMAML): the meta-gradient is then the
            query gradient at the adapted parameters (section 5.2).
        learn_inner_lr: let the outer loop learn the inner step size, starting at `inner_lr`.
        options: the arguments of `MetaLearner`.
    """

    replayable = True

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        first_order: bool = False,
        learn_inner_lr: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        self.first_order = first_order
        self.learned_inner_lr = None
        if learn_inner_lr:
            self.learned_inner_lr = nn.Parameter(torch.tensor(self.inner_lr))

    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Gradient descent on the support loss: φ ← φ − α ∇L_support(φ), from φ = θ (line 7)."""
        params = [self.initial(len(support))]
        for step in range(self.inner_steps if steps is None else steps):
            batch = self.support_at(support, step, params[-1])
            adapted = self.inner_step(partial(self.descend, batch, step), params[-1])
            params.append(params[-1] | adapted)
        return self.adapted(params, support)

    def descend(self, batch: Examples, step: int, params: Params) -> Params:
        """The adapted parameters after inner step `step` (from 0) on a batch."""
        create_graph = torch.is_grad_enabled() and self.second_order
        gradient, _ = self.inner_gradient(params, batch, create_graph)
        rates = self.inner_rates(step)
        return {name: moved(params[name], g, rates[name]) for name, g in gradient.items()}

    @property
    def second_order(self) -> bool:
        """Whether the meta-gradient differentiates the inner gradients."""
        return not self.first_order

    def inner_rates(self, step: int) -> Mapping[str, float | Tensor]:
        """The step size of each adapted parameter in inner step `step` (from 0)."""
        rate = self.inner_lr if self.learned_inner_lr is None else self.learned_inner_lr
        return dict.fromkeys(self.adapted_names, rate)

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The query loss after the last inner step (section 2.2), minimised by eq. 1."""
        adapted = self.adapt(tasks.support)
        outputs = self.predict(adapted, tasks.query.x)
        loss = self.objective.loss(outputs.squeeze(1), tasks.query.y)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return loss, metrics
