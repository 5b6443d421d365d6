"""The mean of networks that are trained on one task each."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.counting import Counting
from mamlbench.algorithms.inner_adam import Moments
from mamlbench.algorithms.maml import MAML
from mamlbench.errors import UserError, one_of, require
from mamlbench.networks.base import Params, alike
from mamlbench.objectives import Objective
from mamlbench.replay.replay import ReplayedInnerGradient, add_gradient
from mamlbench.rl.objective import PolicyGradient
from mamlbench.tasks import Examples, TaskBatch

PENALTIES = ("none", "zero", "mean")


class MultiTask(Counting, MAML):
    """Average in the space of parameters, where `Joint` averages in that of outputs.

    The multi-task baseline of MAML's paper (arXiv 1703.03400, appendix C). For each task a network
    of its own begins at random and is trained, by Adam without momentum, on all examples of the
    task, support and query together. With `outer_optimizer` sgd and `outer_lr` 1 the
    meta-parameters are the mean of all networks so far. They adapt as MAML's do.

    Args:
        network: see `MetaLearner`; its own first parameters do not count.
        objective: see `MetaLearner`.
        task_steps: of Adam on each task.
        task_lr: its step size.
        penalty: on a network's squared distance, beside its loss: from `zero`, or from the `mean`
            of the networks of all outer steps before (none in the first step); or `none`.
        penalty_weight: factor on it.
        options: the arguments of `MetaLearner`. Without `adapt_norm` networks keep the first scale
            and shift of their normalisation layers.

    Raises:
        BadValue: an argument outside of its range.
        UserError: a policy, which has no examples to be trained on.
    """

    count_name = "steps_taken"
    needs_queries = False
    scores_tasks = False

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        task_steps: int = 1000,
        task_lr: float = 0.001,
        penalty: str = "none",
        penalty_weight: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(network, objective, **options)
        one_of("penalty", penalty, PENALTIES)
        require(task_steps >= 1, "task_steps", task_steps, "1 or more")
        for option, value in (("task_lr", task_lr), ("penalty_weight", penalty_weight)):
            require(value >= 0 and math.isfinite(value), option, value, "0 or more")
        weighed = penalty == "none" or penalty_weight > 0
        require(weighed, "penalty_weight", penalty_weight, f"more than 0, where penalty={penalty}")
        if isinstance(objective, PolicyGradient):
            raise UserError("algorithm: multi_task has no policies: accepted is another algorithm")
        self.task_steps, self.task_lr, self.steps_taken = task_steps, task_lr, 0
        self.penalty, self.penalty_weight = penalty, penalty_weight
        self._replayed: ReplayedInnerGradient | None = None

    @override
    def replay(self, compiled: bool = False) -> bool:
        """The networks' gradients are replayed; none are compiled."""
        able = type(self) is MultiTask and not compiled
        self._replayed = ReplayedInnerGradient(self) if able else None
        return able

    @override
    def meta_step(self, tasks: TaskBatch) -> dict[str, Tensor]:
        metrics = super().meta_step(tasks)
        self.steps_taken += 1  # one that is skipped adds no network to the mean
        return metrics

    @override
    @torch.no_grad()
    def chunk_gradient(self, tasks: TaskBatch, total: int) -> dict[str, Tensor]:
        """Add θ − φ over the number of this outer step, which makes of θ a mean, to `.grad`."""
        trained, loss = self.trained(tasks.support.together(tasks.query))
        own, steps = dict(self.network.named_parameters()), self.steps_taken + 1
        for name in self.adapted_names:
            change = len(tasks) * own[name] - trained[name].sum(0)
            add_gradient(own[name], change / (steps * total))
        return {"loss": loss}

    @torch.no_grad()
    def trained(self, examples: Examples) -> tuple[Params, Tensor]:
        """A network's parameters [T, ...] for each task, and their last losses, [T]."""
        mean = self.initial(len(examples))
        params = mean | self._drawn(examples)
        moments = Moments({n: torch.zeros_like(mean[n][0]) for n in self.adapted_names}, 0)
        begun = self.steps_taken > 0
        pulled = self.penalty == "zero" or (self.penalty == "mean" and begun)
        gradient_of = self._replayed or partial(self.inner_gradient, create_graph=False)
        for _ in range(self.task_steps):
            gradient, losses = gradient_of(params, examples)
            if pulled:
                for name, g in gradient.items():
                    far = params[name] - mean[name] if self.penalty == "mean" else params[name]
                    gradient[name] = g + 2.0 * self.penalty_weight * far
            params, moments = moments.step(params, gradient, self.task_lr)
        return params, losses.detach()

    def _drawn(self, examples: Examples) -> Params:
        """First parameters [T, ...], of each task its own whatever batch it comes in."""
        seeds = range(len(examples)) if examples.seeds is None else examples.seeds
        draws = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.default_generator.manual_seed(int(seed))
                draws.append(dict(alike(self.network).named_parameters()))
        own = dict(self.network.named_parameters())
        return {n: torch.stack([d[n] for d in draws]).to(own[n]) for n in self.adapted_names}
