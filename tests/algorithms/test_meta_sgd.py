"""Meta-SGD against its update written out, and against MAML."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from problems import conv4, images, mlp, sinusoids

from mamlbench.algorithms import MAML, MetaSGD
from mamlbench.errors import BadValue
from mamlbench.objectives import Classification, Regression


def test_meta_gradient_against_a_loop_over_tasks():
    network, tasks = mlp(), sinusoids(3)
    learner = MetaSGD(network, Regression(), inner_lr=0.05, inner_steps=2).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for rates in learner.rates:  # of both signs
            rates += 0.1 * torch.randn(rates.shape, generator=generator, dtype=rates.dtype)
    learner.meta_gradient(tasks)

    def outputs(params, x):
        for layer in range(2):
            x = torch.tanh(F.linear(x, *params[2 * layer : 2 * layer + 2]))
        return F.linear(x, *params[4:])

    own, rates = list(network.parameters()), list(learner.rates)
    assert [r.shape for r in rates] == [p.shape for p in own]
    losses = []
    for task in range(3):
        params = own
        for _ in range(2):
            loss = F.mse_loss(outputs(params, tasks.support.x[task]), tasks.support.y[task])
            gradients = torch.autograd.grad(loss, params, create_graph=True)
            params = [p - a * g for p, a, g in zip(params, rates, gradients, strict=True)]
        losses.append(F.mse_loss(outputs(params, tasks.query.x[task]), tasks.query.y[task]))
    learned = [*own, *rates]
    expected = torch.autograd.grad(torch.stack(losses).mean(), learned)
    for parameter, wanted in zip(learned, expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-12)


def test_it_begins_as_maml():
    network, tasks = conv4(), images(2)
    learners = [cls(network, Classification(), inner_lr=0.25).double() for cls in (MAML, MetaSGD)]
    plain, learned = (
        learner.predict(learner.adapt(tasks.support, 2), tasks.query.x) for learner in learners
    )
    torch.testing.assert_close(plain, learned, rtol=1e-12, atol=1e-12)


def test_a_single_learned_rate_is_mamls():
    with pytest.raises(BadValue, match="learn_inner_lr=true: accepted is false"):
        MetaSGD(mlp(), Regression(), learn_inner_lr=True)
