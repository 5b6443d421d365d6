"""learn2learn's MAML (Arnold et al., 2020, arXiv 2008.12284), to compare ours with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner
from mamlbench.learn2learn_import import learn2learn
from mamlbench.networks.base import Params, forward
from mamlbench.networks.layers import Rows
from mamlbench.objectives import Objective
from mamlbench.tasks import TaskBatch


class Learn2LearnMAML(MetaLearner):
    """`learn2learn.algorithms.MAML`: clone the module for a task, adapt the clone, step by step.

    The inner loop and its derivatives are learn2learn's; meta-training processes one task after
    another, as its examples do. Everything else is ours: outer optimiser, losses and metrics.
    Results equal those of `MAML` up to rounding.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        first_order: treat the inner gradients as constants (FOMAML).
        options: the arguments of `MetaLearner`; `task_chunk` has no effect.

    Raises:
        UserError: learn2learn is not installed.
    """

    recomputable = False

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        first_order: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        self.first_order = first_order
        self._maml = learn2learn().algorithms.MAML

    def adapt(self, support: Support, steps: int | None = None) -> Adapted:
        """Clone the network for each task; each clone takes learn2learn's gradient steps."""
        keep_graph = torch.is_grad_enabled()
        first_order = self.first_order or not keep_graph
        with torch.enable_grad():
            module = _OneTask(self.network, self.adapted_names)
            maml = self._maml(module, lr=self.inner_lr, first_order=first_order)
            learners = [maml.clone() for _ in range(len(support))]
            params = [self._stacked(learners, keep_graph)]
            batch = self.support_at(support, 0, params[0])
            for step in range(self.inner_steps if steps is None else steps):
                if step > 0:
                    batch = self.support_at(support, step, params[-1])
                for task, learner in enumerate(learners):
                    one = batch[task : task + 1]
                    outputs = learner(one.x[0]).unsqueeze(0)
                    learner.adapt(self.objective.loss(outputs, one.y).squeeze(0))
                params.append(self._stacked(learners, keep_graph))
        return Adapted(params, batch)

    def meta_loss(self, tasks: TaskBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The query loss after the last inner step."""
        outputs = self.predict(self.adapt(tasks.support), tasks.query.x)
        loss = self.objective.loss(outputs.squeeze(1), tasks.query.y)
        with torch.no_grad():
            metrics = self.objective.metrics(outputs, tasks.query.y)
        return loss, metrics

    def _chunks(self, tasks: TaskBatch) -> list[TaskBatch]:
        return list(tasks.chunks(1))

    def _stacked(self, learners: Iterable[Any], keep_graph: bool) -> Params:
        """All parameters by name; adapted ones are stacked over tasks, [T, ...]."""
        each = zip(*(learner.module.adapted for learner in learners), strict=True)
        stacked = [torch.stack(values) for values in each]
        adapted = [values if keep_graph else values.detach() for values in stacked]
        own = dict(self.network.named_parameters())
        return own | dict(zip(self.adapted_names, adapted, strict=True))


class _OneTask(nn.Module):
    """A network in learn2learn's form: x [M, ...] to [M, C], all its parameters adapted.

    The network itself is not a submodule, so its other parameters (those of its norms) are not
    cloned: they remain the meta-parameters.
    """

    def __init__(self, network: nn.Module, adapted_names: list[str]) -> None:
        super().__init__()
        own = dict(network.named_parameters())
        self.names = adapted_names
        self.adapted = nn.ParameterList(own.pop(name) for name in adapted_names)
        self.fixed = own
        self.network = (network,)  # the tuple hides it from nn.Module

    def forward(self, x: Tensor) -> Tensor:
        params = self.fixed | dict(zip(self.names, self.adapted, strict=True))
        return forward(self.network[0], params, x.unsqueeze(0), Rows()).squeeze(0)
