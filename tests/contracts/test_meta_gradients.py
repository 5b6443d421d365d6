"""Every algorithm's meta-gradient against central finite differences with fixed noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mamlbench.algorithms import MetaLearner, MultiTask, Reptile
from mamlbench.config.tree import ConfigTree
from mamlbench.networks import Rows
from mamlbench.networks.base import Params, forward
from mamlbench.tasks import Examples, TaskBatch

STEP = 1e-6
# These leave out what is constant to gradients but not to differences. Bayesian MAML's leader and
# kernel width, which are such constants, are held fixed in tests/algorithms/test_bmaml.py.
OPTIONS: dict[str, dict[str, object]] = {
    "bmaml": {"particles": 1, "meta_loss": "validation"},
    "leo": {"latent_steps": 1},
    "mamlpp": {"first_order_epochs": 0},
    "reptile": {"inner_optimizer": "sgd", "inner_batch": None},
}


def descended(learner: MetaLearner, tasks: TaskBatch) -> Callable[[], Tensor]:
    """The function of the meta-parameters whose gradient should be the meta-gradient."""
    if isinstance(learner, MultiTask):
        return from_trained_networks(learner, tasks)
    if isinstance(learner, Reptile) or getattr(learner, "first_order", False):
        return moved_as_a_whole(learner, tasks)
    if type(learner).meta_loss is MetaLearner.meta_loss:
        pytest.skip(f"{type(learner).__name__} descends no loss; what it does is to be said here")
    return lambda: learner.meta_loss(tasks)[0].mean()


def moved_as_a_whole(learner: MetaLearner, tasks: TaskBatch) -> Callable[[], Tensor]:
    """The function of a first-order algorithm: inner gradients are constants, so paths only shift.

    First-order MAML descends the query loss at the end of each path; Reptile, whose outer step is
    the sum of its inner steps, descends the support loss at the start of each inner step.
    """
    with torch.no_grad():
        path = learner.adapt(tasks.support).params
    shifts = [{name: params[name] - path[0][name] for name in params} for params in path]

    def loss(shift: Params, examples: Examples) -> Tensor:
        params = {name: p + shift[name] for name, p in learner.initial(len(tasks)).items()}
        outputs = forward(learner.network, params, examples.x, Rows())
        return learner.objective.loss(outputs, examples.y).mean()

    if not isinstance(learner, Reptile):
        return lambda: loss(shifts[-1], tasks.query)
    return lambda: learner.inner_lr * sum(loss(shift, tasks.support) for shift in shifts[:-1])


def from_trained_networks(learner: MultiTask, tasks: TaskBatch) -> Callable[[], Tensor]:
    """Half the squared distance to each task's network, which is least at their mean."""
    trained, _ = learner.trained(tasks.support.together(tasks.query))
    own, names = dict(learner.network.named_parameters()), learner.adapted_names
    return lambda: 0.5 * sum((own[n] - trained[n]).square().sum() for n in names) / len(tasks)


@pytest.mark.parametrize("algorithm", ConfigTree().choices("algorithm"))
def test_meta_gradient_against_finite_differences(problem, algorithm):
    options = {"inner_steps": 2, **OPTIONS.get(algorithm, {})}
    learner, tasks = problem.learner(algorithm, "tanh", **options), problem.tasks()
    function, parameters = descended(learner, tasks), list(learner.parameters())
    generator = torch.Generator().manual_seed(4)
    directions = [
        [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        for _ in range(6)
    ]

    @torch.no_grad()
    def move(direction: list[Tensor], length: float) -> None:
        for parameter, part in zip(parameters, direction, strict=True):
            parameter += length * part

    expected = []
    for direction in directions:
        move(direction, STEP)
        ahead = function().detach()
        move(direction, -2 * STEP)
        expected.append((ahead - function().detach()) / (2 * STEP))
        move(direction, STEP)
    learner.meta_gradient(tasks)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    found = [sum((g * d).sum() for g, d in zip(gradients, d, strict=True)) for d in directions]
    differences = torch.stack(expected)
    assert differences.norm() > 1e-3
    assert (torch.stack(found) - differences).norm() < 1e-6 * differences.norm()
