"""Gathers the examples that an outer step learns from, by acting in its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, cast

import torch
from torch import Tensor, nn

from mamlbench.errors import UserError
from mamlbench.networks.base import Params, TaskNetwork
from mamlbench.rl.objective import PolicyGradient
from mamlbench.rl.rollouts import Rollouts
from mamlbench.rl.trust_region import Trial
from mamlbench.tasks import Examples, TaskBatch

if TYPE_CHECKING:
    from mamlbench.algorithms.base import MetaLearner


class _Gathered:
    """A support set without examples of its own: they come from calls, one per inner step."""

    @property
    def x(self) -> NoReturn:
        """Tells a user's learner, which works on other datasets, what it needs for this one."""
        raise UserError(
            "algorithm: it adapts to fixed examples, but a policy makes new ones before each inner "
            "step; accepted is an algorithm that takes them from self.support_at(support, step, "
            "params)"
        )

    y = x


@dataclass(frozen=True)
class Recorded(_Gathered):
    """The recorded support sets of T tasks, one for each inner step.

    Attributes:
        steps: entry s was gathered before inner step s.
        tasks: T.
    """

    steps: Sequence[Examples]
    tasks: int

    def __len__(self) -> int:
        return self.tasks

    def __getitem__(self, tasks: slice) -> Recorded:
        count = len(range(self.tasks)[tasks])
        return Recorded([examples[tasks] for examples in self.steps], count)

    def __call__(self, step: int, params: Params) -> Examples:
        """The support set for inner step `step`."""
        del params
        return self.steps[step]


class _Recorder(_Gathered):
    """Calls rollouts and keeps what they return."""

    def __init__(self, rollouts: Rollouts) -> None:
        self.rollouts, self.kept = rollouts, list[Examples]()

    def __len__(self) -> int:
        return len(self.rollouts)

    def __call__(self, step: int, params: Params) -> Examples:
        self.kept.append(self.rollouts(step, params))
        return self.kept[-1]


def acting(tasks: TaskBatch, network: nn.Module, particles: int = 1) -> TaskBatch:
    """The tasks, with this network as the policy that acts in them; ordinary tasks unchanged.

    Args:
        tasks: T of them.
        network: the policy.
        particles: P, policies per task, each of which acts separately.

    Raises:
        UserError: the network normalises over examples, but a policy sees only few at a time.
    """
    support, query = _sides(tasks)
    if not isinstance(support, Rollouts):
        return tasks
    norm = network.norm if isinstance(network, TaskNetwork) else "none"
    if norm not in ("none", "group"):
        raise UserError(f"network.norm={norm}: accepted is none or group, where a policy acts")
    sides = {"support": support, "query": query}
    own: Any = {
        name: replace(side, network=network, particles=particles) for name, side in sides.items()
    }
    return replace(tasks, **own)


def met_by(query: Examples, step: int, params: Params) -> Examples:
    """The query set after `step` inner steps: a fixed one, or rollouts with these parameters."""
    side = cast(Any, query)
    return side(step, params) if isinstance(side, Rollouts) else query


def gathered(learner: MetaLearner, tasks: TaskBatch) -> TaskBatch:
    """The examples of an outer step: all that the learner meets during and after adaptation.

    Ordinary tasks are returned unchanged. If nothing adapts before an outer step, all tasks share
    one policy, which cannot tell them apart: then they also share one baseline, and advantages are
    standardised over all tasks.

    Raises:
        UserError: in that case, if several processes share the tasks.
    """
    tasks = acting(tasks, learner.network, learner.particles)
    support, query = _sides(tasks)
    if not isinstance(support, Rollouts):
        return tasks
    recorder = _Recorder(support)
    with torch.no_grad():
        adapted = learner.adapt_to_learn(recorder)
        if not recorder.kept:
            _require_alone(learner)
            query = replace(query, credit=replace(query.credit, pooled=True))
        after = query(len(recorder.kept), adapted.params[-1])
    return TaskBatch(cast(Examples, Recorded(recorder.kept, len(tasks))), after, tasks.info)


def _require_alone(learner: MetaLearner) -> None:
    if learner.ranks.size > 1:
        why = "advantages are standardised over all tasks if none adapts before an outer step"
        raise UserError(f"{learner.ranks.size} processes: accepted is 1: {why}")


def trials(learner: MetaLearner, parts: Sequence[TaskBatch]) -> list[Trial]:
    """The gain and the divergence of the policies in each part of a gathered batch.

    Gain is the surrogate's and divergence is KL(policy at the start || policy), both after
    adaptation. Each trial holds its part's contribution to the mean over all tasks and particles.

    Raises:
        UserError: the learner takes no gradient through its adaptation.
    """
    objective = learner.objective
    assert isinstance(objective, PolicyGradient)  # the learner's constructor requires it
    total = sum(map(len, parts))
    return [_trial(learner, objective, part, total) for part in parts]


def _trial(learner: MetaLearner, objective: PolicyGradient, tasks: TaskBatch, total: int) -> Trial:
    y = tasks.query.y.flatten(0, -3)  # one policy after another, [T*P, M, A + 4]
    policies = total * len(y) // len(tasks)

    def outputs() -> Tensor:
        adapted = learner.adapt_to_learn(tasks.support)
        found = learner.predict(adapted, tasks.query.x).flatten(0, 1)
        if torch.is_grad_enabled() and not found.requires_grad:
            why = f"{type(learner).__name__} takes no gradient through its inner steps"
            raise UserError(f"algorithm.outer_optimizer=trpo: accepted is adam or sgd: {why}")
        return found

    with torch.no_grad():
        old = outputs()
    return Trial(
        outputs,
        gain=lambda new: objective.surrogate(new, y).sum() / policies,
        divergence=lambda new: objective.divergence(old, new, y).sum() / policies,
    )


def _sides(tasks: TaskBatch) -> tuple[Any, Any]:
    # rollouts take the place of examples until a policy acts
    return tasks.support, tasks.query
