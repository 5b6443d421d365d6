"""A trace that computes nothing twice gives the same results."""

from __future__ import annotations

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from mamlbench.replay.common_results import share_results


def operations(graph) -> list[str]:
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def shared(function, *inputs):
    """The trace before and after, checked on other inputs."""
    graph = make_fx(function)(*inputs)
    before = operations(graph)
    share_results(graph)
    others = [torch.rand_like(x) for x in inputs]
    for a, b in zip(function(*others), graph(*others), strict=True):
        assert torch.equal(a, b)
    return before, operations(graph)


def test_equal_operations_are_one():
    def function(x, y):
        return (x * y).sin() + (x * y).sum(0), (x * y).cos()

    before, after = shared(function, torch.rand(3, 2), torch.rand(3, 2))
    assert before.count("aten.mul.Tensor") == 3
    assert after.count("aten.mul.Tensor") == 1
    assert len(after) == len(before) - 2


def test_what_depends_on_them_too():
    def function(x):
        return x.exp().flatten().sum(), x.exp().flatten().square()

    before, after = shared(function, torch.rand(3, 2))
    assert len(after) == len(before) - 2


def test_other_arguments_are_others():
    def function(x):
        return x.sum(0), x.sum(1), x + 1, x + 1.0, x.double() + 1, x[:2], x[:1]

    before, after = shared(function, torch.arange(6).view(3, 2).float())
    assert after == before


def test_random_numbers_are_drawn_each_time():
    graph = make_fx(lambda x: (torch.rand_like(x), torch.rand_like(x)))(torch.rand(3))
    share_results(graph)
    a, b = graph(torch.rand(3))
    assert not torch.equal(a, b)


def test_what_changes_in_place_is_left_alone():
    def function(x):
        y = x * 2
        y.add_(1)
        return y, x * 2

    graph = make_fx(function)(torch.rand(3))
    share_results(graph)
    x = torch.rand(3)
    for a, b in zip(function(x), graph(x), strict=True):
        assert torch.equal(a, b)
