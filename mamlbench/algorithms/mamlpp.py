"""MAML++ (Antoniou, Edwards and Storkey, ICLR 2019, arXiv 1810.09502)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.counting import Counting
from mamlbench.algorithms.maml import MAML
from mamlbench.algorithms.step_statistics import StepStatistics
from mamlbench.errors import require
from mamlbench.networks.base import Params, norm_parameter_names
from mamlbench.objectives import Objective
from mamlbench.rl.objective import PolicyGradient
from mamlbench.tasks import TaskBatch

_LEAST = 0.03
"""Least weight of an earlier step's loss while it is annealed, as a fraction of the initial 1/N."""


class MAMLpp(Counting, MAML):
    """MAML with the six changes of section 4, each a separate switch; with none on it is MAML.

    Multi-step loss (MSL, `multi_step_epochs`), a learned rate for each parameter tensor and step
    (LSLR, `per_step_rates`), batch-norm weights and running statistics for each step (BNWB,
    `per_step_affine`; BNRS, `per_step_statistics`), cosine annealing of the outer rate (CA,
    `outer_schedule`) and derivative-order annealing (DA, `first_order_epochs`).

    Annealing proceeds by epochs of `epoch_length` outer steps, counted from 0.

    Args:
        network: see `MetaLearner`; with `norm=running`, evaluation normalises by the per-step
            statistics; with `norm=batch` they are recorded but not used.
        objective: see `MetaLearner`.
        multi_step_epochs: epochs in which the query losses after all inner steps count; afterwards
            only the loss after the last step counts.
        per_step_rates: learn the inner rates, starting at `inner_lr`.
        per_step_affine: learn scales and shifts of normalisation layers for each inner step. With
            `adapt_norm`, a step also adapts its own ones: the query loss after that step uses them,
            and the next step starts from its own.
        per_step_statistics: running statistics of batch norm for each inner step.
        first_order_epochs: epochs with first-order gradients; later ones are of second order.
        epoch_length: outer steps in an epoch.
        options: the arguments of `MAML`.

    Raises:
        BadValue: an argument outside of its range.
    """

    count_name = "outer_steps"

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        multi_step_epochs: int = 10,
        per_step_rates: bool = True,
        per_step_affine: bool = True,
        per_step_statistics: bool = True,
        first_order_epochs: int = 50,
        epoch_length: int = 500,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        require(multi_step_epochs >= 0, "multi_step_epochs", multi_step_epochs, "0 or more")
        require(first_order_epochs >= 0, "first_order_epochs", first_order_epochs, "0 or more")
        require(epoch_length >= 1, "epoch_length", epoch_length, "1 or more")
        # the query episodes are the last policy's and cannot score the earlier ones
        last_alone = multi_step_epochs == 0 or not isinstance(objective, PolicyGradient)
        require(last_alone, "multi_step_epochs", multi_step_epochs, "0 for policies")
        steps = self.inner_steps
        require(steps >= 1, "inner_steps", steps, "1 or more")
        one = self.learned_inner_lr is None or not per_step_rates
        require(one, "learn_inner_lr", True, "false if per_step_rates=true")
        self.multi_step_epochs, self.first_order_epochs = multi_step_epochs, first_order_epochs
        self.epoch_length, self.outer_steps = epoch_length, 0
        rates = torch.full((steps, len(self.adapted_names)), self.inner_lr)
        self.rates = nn.Parameter(rates) if per_step_rates else None
        own, norms = dict(network.named_parameters()), norm_parameter_names(network)
        self.norm_names = [name for name in own if name in norms] if per_step_affine else []
        self.step_norms = nn.ParameterList(
            own[name].detach().repeat(steps, *[1] * own[name].dim()) for name in self.norm_names
        )
        self.statistics = StepStatistics(network, steps) if per_step_statistics else None

    @property
    def epoch(self) -> int:
        """The current epoch, from 0."""
        return self.outer_steps // self.epoch_length

    @property
    @override
    def second_order(self) -> bool:
        return super().second_order and self.epoch >= self.first_order_epochs

    # --- inner loop -----------------------------------------------------------------------------

    @override
    def check_steps(self, steps: int) -> None:
        used = self.statistics is not None and self.statistics.used
        limited = self.rates is not None or bool(self.norm_names) or used
        accepted = f"0 to {self.inner_steps}: later steps have no rates or norms of their own"
        require(steps <= self.inner_steps or not limited, "inner_steps", steps, accepted)

    @override
    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Gradient descent with rates and norms for each step (section 4).

        Predictions after a step use that step's norms.

        Raises:
            BadValue: more steps than there are rates or norms for.
        """
        steps = self.inner_steps if steps is None else steps
        self.check_steps(steps)
        tasks = len(support)
        params = [self.initial(tasks) | self._enter(0, tasks)]
        for step in range(steps):
            before = params[-1] | self._enter(step, tasks)
            batch = self.support_at(support, step, before)
            adapted = self.inner_step(partial(self.descend, batch, step), before)
            params.append(before | adapted)
        return self.adapted(params, support)

    @override
    def inner_rates(self, step: int) -> Mapping[str, float | Tensor]:
        if self.rates is None:
            return super().inner_rates(step)
        return dict(zip(self.adapted_names, self.rates[step].unbind(), strict=True))

    def _enter(self, step: int, tasks: int) -> Params:
        """Scales, shifts and running statistics of an inner step, for the passes that follow."""
        norms: Params = {}
        for name, values in zip(self.norm_names, self.step_norms, strict=True):
            adapted = name in self.adapted_names
            norms[name] = values[step].expand(tasks, *values.shape[1:]) if adapted else values[step]
        return norms if self.statistics is None else norms | self.statistics.enter(step)

    # --- outer loop -----------------------------------------------------------------------------

    def loss_weights(self) -> list[float]:
        """The weight of the query loss after each of N inner steps, in the current epoch.

        The weights start at 1/N each and shift to the last step; the paper does not say how fast,
        so this follows the authors' code.
        """
        steps, epochs, epoch = self.inner_steps, self.multi_step_epochs, self.epoch
        if epoch >= epochs:
            return [0.0] * (steps - 1) + [1.0]
        least = _LEAST / steps
        moved = epoch / (steps * epochs)
        earlier = max(1 / steps - moved, least)
        last = min(1 / steps + moved * (steps - 1), 1 - least * (steps - 1))
        return [earlier] * (steps - 1) + [last]

    @override
    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the query losses after each inner step; metrics after the last."""
        with nullcontext() if self.statistics is None else self.statistics.watching():
            adapted = self.adapt(tasks.support)
            terms = []
            for step, weight in enumerate(self.loss_weights()):
                if not weight:
                    continue
                self._enter(step, len(tasks))
                outputs = self.predict(adapted, tasks.query.x, step + 1)
                loss = self.objective.loss(outputs.squeeze(1), tasks.query.y)
                terms.append(loss if weight == 1 else weight * loss)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return sum(terms[1:], terms[0]), metrics

    @override
    def meta_gradient(self, tasks: TaskBatch) -> dict[str, Tensor]:
        if self.statistics is not None:
            self.statistics.forget()
        return super().meta_gradient(tasks)

    @override
    def task_means(self) -> list[Tensor]:
        return [] if self.statistics is None else self.statistics.means()

    @override
    def count_step(self) -> None:
        super().count_step()
        self.outer_steps += 1

    @override
    def _record_statistics(self, tasks: TaskBatch) -> None:
        if self.statistics is None:
            super()._record_statistics(tasks)
        else:
            self.statistics.keep()
