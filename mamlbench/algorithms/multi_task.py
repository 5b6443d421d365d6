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
    """Average in parameter space, whereas `Joint` averages in output space.

    The multi-task baseline of MAML's paper (arXiv 1703.03400, appendix C). Each task trains a
    randomly initialised network of its own, by Adam without momentum, on all its examples, support
    and query together. With `outer_optimizer` sgd and `outer_lr` 1 the meta-parameters are the mean
    of all networks so far. They adapt as MAML's do.

    Args:
        network: see `MetaLearner`; initial values of its adapted parameters are unused.
        objective: see `MetaLearner`.
        task_steps: Adam steps on each task.
        task_lr: step size of these steps.
        penalty: added to a network's loss: its squared distance from `zero`, or from the `mean` of
            the networks of all earlier outer steps (nothing in the first step); or `none`.
        penalty_weight: factor on the penalty.
        options: the arguments of `MetaLearner`. Without `adapt_norm` networks keep the initial
            scale and shift of their normalisation layers.

    Raises:
        BadValue: an argument outside of its range.
        UserError: the tasks have a policy, so there are no examples to train on.
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
        require(weighed, "penalty_weight", penalty_weight, f"more than 0 if penalty={penalty}")
        if isinstance(objective, PolicyGradient):
            raise UserError(
                "algorithm=multi_task: cannot train policies; accepted is another algorithm"
            )
        self.task_steps, self.task_lr, self.steps_taken = task_steps, task_lr, 0
        self.penalty, self.penalty_weight = penalty, penalty_weight
        self._replayed: ReplayedInnerGradient | None = None

    @override
    def replay(self, compiled: bool = False) -> bool:
        """Replay the networks' gradients; they cannot be compiled."""
        able = type(self) is MultiTask and not compiled
        self._replayed = ReplayedInnerGradient(self) if able else None
        return able

    @override
    def meta_step(self, tasks: TaskBatch) -> dict[str, Tensor]:
        metrics = super().meta_step(tasks)
        self.steps_taken += 1  # a skipped step adds no network to the mean
        return metrics

    @override
    @torch.no_grad()
    def chunk_gradient(self, tasks: TaskBatch, total: int) -> dict[str, Tensor]:
        """Add (θ − φ) / n to `.grad`, n the number of this outer step; this makes θ a mean."""
        trained, loss = self.trained(tasks.support.together(tasks.query))
        own, steps = dict(self.network.named_parameters()), self.steps_taken + 1
        for name in self.adapted_names:
            change = len(tasks) * own[name] - trained[name].sum(0)
            add_gradient(own[name], change / (steps * total))
        return {"loss": loss}

    @torch.no_grad()
    def trained(self, examples: Examples) -> tuple[Params, Tensor]:
        """The trained parameters [T, ...] of each task's network, and the last losses, [T]."""
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
        """Initial parameters [T, ...]; each task's own are the same in any batch."""
        seeds = range(len(examples)) if examples.seeds is None else examples.seeds
        draws = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.default_generator.manual_seed(int(seed))
                draws.append(dict(alike(self.network).named_parameters()))
        own = dict(self.network.named_parameters())
        return {n: torch.stack([d[n] for d in draws]).to(own[n]) for n in self.adapted_names}
