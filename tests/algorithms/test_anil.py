"""ANIL against a head that descends alone on features computed once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from problems import conv4, images, mlp, sinusoids, vary
from torch import nn

from mamlbench.algorithms import ANIL
from mamlbench.errors import BadValue
from mamlbench.networks import Rows
from mamlbench.objectives import Classification, Regression


def features(network, x):
    """The input of a network's head."""
    seen = []
    hook = network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(x, Rows())
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("first_order", [False, True])
def test_meta_gradient_is_that_of_a_head_on_shared_features(first_order):
    network, tasks = conv4(), images(3)
    learner = ANIL(
        network, Classification(), inner_lr=0.3, inner_steps=2, first_order=first_order
    ).double()
    learner.meta_gradient(tasks)
    support, query = (features(network, side.x) for side in (tasks.support, tasks.query))
    losses = []
    for task in range(3):
        head = [network.head.weight, network.head.bias]
        for _ in range(2):
            loss = F.cross_entropy(F.linear(support[task], *head), tasks.support.y[task])
            inner = torch.autograd.grad(loss, head, create_graph=True)
            inner = [g.detach() for g in inner] if first_order else inner
            head = [p - 0.3 * g for p, g in zip(head, inner, strict=True)]
        losses.append(F.cross_entropy(F.linear(query[task], *head), tasks.query.y[task]))
    own = list(network.parameters())
    expected = torch.autograd.grad(torch.stack(losses).mean(), own)
    for parameter, wanted in zip(own, expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-12)


def test_only_the_head_has_a_value_of_each_task():
    learner = ANIL(mlp(), Regression(), inner_lr=0.1).double()
    before, after = learner.adapt(sinusoids(2).support, 1).params
    for name, own in learner.network.named_parameters():
        if name.startswith("head."):
            assert after[name].shape == (2, *own.shape)
            assert (after[name] != before[name]).all()
        else:
            assert after[name] is own


def test_the_head_of_a_module_of_ones_own():
    network = vary(nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)))
    learner = ANIL(network, Regression(), head="2").double()
    assert learner.adapted_names == ["2.weight", "2.bias"]
    with pytest.raises(BadValue, match=r"head=head: accepted is a part of the network: 0, 2"):
        ANIL(network, Regression())
