"""`ContextVector` against a plain loop over tasks: only a context beside the input adapts."""

from __future__ import annotations

import pytest
import torch
from problems import conv4, gradient, images, mlp, relative_error, sinusoids, vary
from torch import nn

from mamlbench.algorithms import ContextVector
from mamlbench.errors import UserError
from mamlbench.networks import Conv4, Rows
from mamlbench.objectives import Classification, Regression

PROBLEMS = {
    "sinusoids": (mlp, Regression, sinusoids),
    "images": (conv4, Classification, images),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    network, objective, tasks = PROBLEMS[request.param]
    torch.manual_seed(0)
    learner = ContextVector(network(), objective(), inner_lr=0.3, inner_steps=2)
    vary(learner)
    return learner, tasks(3)


def test_the_context_alone_adapts_and_starts_at_zero():
    fresh = ContextVector(conv4(), Classification()).double()
    assert fresh.network.context.shape == (1, 8, 8)
    assert not fresh.network.context.any()
    before, after = fresh.adapt(images(2).support, 1).params
    for name, values in after.items():
        assert torch.equal(values, before[name]) is (name != "context"), name
    assert after["context"].shape == (2, 1, 8, 8)


def test_meta_gradient_is_that_of_a_plain_loop(problem):
    learner, tasks = problem
    found = gradient(learner, tasks)
    network, objective = learner.network, learner.objective
    own = dict(network.named_parameters())
    losses = []
    for i in range(3):
        context = own["context"]
        support, query = tasks.support[i : i + 1], tasks.query[i : i + 1]
        for _ in range(2):
            outputs = torch.func.functional_call(
                network, own | {"context": context}, (support.x, Rows())
            )
            loss = objective.loss(outputs, support.y).sum()
            (slope,) = torch.autograd.grad(loss, context, create_graph=True)
            context = context - 0.3 * slope
        outputs = torch.func.functional_call(network, own | {"context": context}, (query.x, Rows()))
        losses.append(objective.loss(outputs, query.y).sum())
    slopes = torch.autograd.grad(torch.stack(losses).mean(), list(own.values()))
    expected = torch.cat([slope.reshape(-1) for slope in slopes])
    assert relative_error(found, expected) < 1e-12


def test_the_network_sees_the_context_after_the_input():
    learner = ContextVector(Conv4((2, 8, 8), 3, filters=4, blocks=2), Classification())
    network, x = learner.network, torch.rand(3, 5, 2, 8, 8)
    with torch.no_grad():
        network.context.copy_(torch.rand(2, 8, 8))
        wide = torch.cat([x, network.context.expand(3, 5, 2, 8, 8)], dim=2)
        assert torch.equal(network(x, Rows()), network.inner(wide, Rows()))
        assert torch.equal(network.head(network.features(x, Rows())), network(x, Rows()))
    assert network.inner.input_shape == (4, 8, 8)
    assert network.norm == "batch"


def test_a_module_of_another_kind_is_refused():
    with pytest.raises(UserError, match="network: Linear takes no context"):
        ContextVector(nn.Linear(1, 1), Regression())
