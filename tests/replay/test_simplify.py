"""A simplified trace has fewer operations and gives the same bits."""

import pytest
import torch
from torch import nn

from mamlbench.replay.simplify import simplify, traced


def targets(graph):
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


def operations(graph):
    return [target.overloadpacket.__name__ for target in targets(graph)]


def simplified(function, *inputs):
    """The operations left, and the trace, after comparing it with the function on other inputs."""
    graph = traced(function, inputs)
    simplify(graph)
    others = [torch.rand_like(x) for x in inputs]
    for a, b in zip(graph(*others), function(*others), strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()
    return operations(graph), graph


X = torch.rand(3, 4, 5)


@pytest.mark.parametrize(
    ("function", "left"),
    [
        (lambda x: [x.pow(1.0).exp()], ["exp"]),
        (lambda x: [x + torch.zeros_like(x)], []),
        (lambda x: [torch.zeros_like(x) + x.neg()], ["neg"]),
        (lambda x: [x * torch.ones_like(x)], []),
        (lambda x: [x * x.pow(0.0).mul(2.0)], ["mul"]),  # constants are stored
        (lambda x: [x.detach().detach().neg()], ["neg"]),
        (lambda x: [x + torch.ones_like(x)], ["add"]),
        (lambda x: [x * x.new_full((1, 1, 5), 3.0).expand(3, 4, 5)], ["mul"]),
        (lambda x: [x.neg().mul(0.1).exp()], ["mul", "exp"]),
        (lambda x: [x.neg().mul(x)], ["neg", "mul"]),
        (lambda x: [x.sum(0, keepdim=True).view(4, 5).exp()], ["sum", "exp"]),
        (lambda x: [x.sum(0, keepdim=True).view(5, 4).exp()], ["sum", "view", "exp"]),
        (lambda x: [x.sum((0, 2), keepdim=True).view(4).exp()], ["sum", "exp"]),
        (lambda x: [x.sum(2, keepdim=True) + torch.zeros_like(x)], ["sum", "add"]),  # wider sum
        (lambda x: [torch.add(x, torch.zeros_like(x), alpha=2)], ["add"]),
    ],
)
def test_what_is_left(function, left):
    names, _ = simplified(function, X)
    assert names == left


def test_a_negative_that_lies_otherwise_is_left():
    """The negative of a transposed row has another layout, which changes products' rounding."""
    row = torch.rand(25, 40, 1).transpose(1, 2)
    names, _ = simplified(lambda x: [x.transpose(1, 2).transpose(1, 2).neg().mul(0.1)], row)
    assert names[-2:] == ["neg", "mul"]


def test_a_product_over_one_number_is_an_outer_product():
    a, b = torch.rand(3, 4, 1), torch.rand(3, 1, 5)
    _, graph = simplified(lambda a, b: [torch.bmm(a, b)], a, b)
    assert targets(graph) == [torch.ops.aten.mul.Tensor]
    _, graph = simplified(lambda a, b: [torch.bmm(b, a.expand(3, 5, 1))], a[:, :1], b)
    assert targets(graph)[-1] == torch.ops.aten.bmm.default


def test_a_relu_is_a_clamp():
    graph = traced(lambda x: [x.relu()], [X])
    simplify(graph)
    assert targets(graph) == [torch.ops.aten.clamp_min.default]
    x = torch.tensor([-1.0, -0.0, 0.0, 2.0, torch.inf, -torch.inf, torch.nan])
    (y,) = graph(x)
    assert torch.equal(y.view(torch.int32), x.relu().view(torch.int32))


def test_views_of_parameters_stay_views():
    layer = nn.Linear(4, 2)
    graph = traced(lambda x: [x @ layer.weight.t().unsqueeze(0).expand(3, 4, 2)], [X[:, :1, :4]])
    simplify(graph)
    with torch.no_grad():
        layer.weight.mul_(2.0)
        expected = X[:, :1, :4] @ layer.weight.t()
        found = graph(X[:, :1, :4])[0]
    torch.testing.assert_close(found.squeeze(1), expected.squeeze(1))


def test_what_changes_in_place_is_left_alone():
    def in_place(x):
        y = torch.zeros_like(x)
        y.add_(x)
        return [y.pow(1.0)]

    graph = traced(in_place, [X])
    before = operations(graph)
    simplify(graph)
    assert operations(graph) == before
