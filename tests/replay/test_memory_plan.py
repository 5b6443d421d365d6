"""Planned memory: the same bits, no two results in one place at the same time, a small block."""

import pytest
import runs
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mamlbench.algorithms import MAML
from mamlbench.networks import MLP, Conv4
from mamlbench.objectives import Classification, Regression
from mamlbench.replay.memory_plan import _arranged, _Slot, plan_memory
from mamlbench.replay.replay import Replay
from mamlbench.replay.simplify import simplify, traced
from mamlbench.tasks import Examples, TaskBatch


def planned(function, *inputs):
    graph = traced(function, inputs)
    simplify(graph)
    plan_memory(graph)
    return graph


def blocks(graph):
    """Sizes in bytes of the memory that a trace keeps, each counted once."""
    kept = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in graph.buffers()}
    return [storage.nbytes() for storage in kept.values()]


def check(function, *inputs):
    """The trace gives the function's results, twice, and later calls do not change them."""
    graph = planned(function, *inputs)
    others = [[torch.rand_like(x) for x in inputs] for _ in range(2)]
    with torch.no_grad():
        found = [graph(*each) for each in others]
    for each, outputs in zip(others, found, strict=True):
        for a, b in zip(function(*each), outputs, strict=True):
            assert torch.equal(a, b)
            assert a.stride() == b.stride()
    return graph


slots = st.builds(
    lambda size, first, length: _Slot(64 * size, first, first + length),
    st.integers(1, 20),
    st.integers(0, 30),
    st.integers(0, 10),
)


@given(st.lists(slots, min_size=1, max_size=40))
def test_no_two_slots_overlap_in_place_and_time(slots):
    total = _arranged(slots)
    for i, a in enumerate(slots):
        assert a.offset >= 0
        assert a.offset + a.size <= total
        for b in slots[:i]:
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or a.last < b.first or b.last < a.first


def test_a_chain_takes_turns_in_two_places():
    x = torch.rand(16, 16)
    graph = check(lambda x: [x.exp().neg().exp().neg().exp().sum(0)], x)
    assert blocks(graph) == [2 * 16 * 16 * 4]


def test_a_view_keeps_its_memory_alive():
    def function(x):
        view = x.exp().t().unsqueeze(0)
        later = x.neg().exp().mul(2.0).add(1.0)
        return [(view * later).neg().sum(2)]

    graph = check(function, torch.rand(8, 8))
    assert graph.code.count("out = ") == 7
    assert "aten.t." not in graph.code
    assert "torch.unsqueeze" not in graph.code


def test_a_view_of_an_operand_that_took_a_results_place_keeps_its_memory_alive():
    def function(x):
        view = (x.exp() * torch.ones_like(x)).t()  # simplified to a view of x.exp()
        later = x.neg().exp().mul(2.0).add(1.0)
        return [(view * later).neg().sum(1)]

    graph = check(function, torch.rand(8, 8))
    assert graph.code.count("torch.mul(") == 2  # the product with ones is gone


def test_the_pieces_of_such_an_operand_keep_its_memory_alive():
    def function(x):
        left, right = (torch.zeros_like(x) + x.exp()).chunk(2, 1)  # simplified to pieces of x.exp()
        later = x.neg().exp().mul(2.0).add(1.0)
        return [left.sin() + right.sin() + later[:, :4]]

    check(function, torch.rand(8, 8))


def test_log_softmax_writes_its_transposed_gradient_to_new_memory():
    def function(x):
        x = x.detach().requires_grad_()
        scores = x.log_softmax(1).t().contiguous()
        (gradient,) = torch.autograd.grad(scores.sin().sum(), x)
        return [gradient.neg()]

    check(function, torch.rand(4, 6))


def test_what_is_returned_is_not_overwritten():
    graph = check(lambda x: [x.exp(), x.exp().t(), x.neg().sum(1), x.mean(0)], torch.rand(5, 5))
    assert blocks(graph) == [128]  # the 25 numbers of x.neg(), and nothing that is returned


def test_of_several_results_some_are_returned():
    runs.needing_kernels()

    def function(x):
        y, mean, _ = torch.ops.mamlbench.batch_norm(x, None, None, 0.1, [1, 0, 0])
        return [mean, y.neg().sum(2)]

    graph = check(function, torch.rand(2, 1, 20, 1, 8))
    assert graph.code.count("torch.empty_strided") == 1  # the means; the others have slots
    assert "torch.ops.mamlbench" not in graph.code  # the kernel is called directly


def test_a_kernel_takes_copies_and_one_tensor_twice():
    runs.needing_kernels()

    def function(x):
        turned = x.transpose(0, 1)
        weight, sums = torch.ops.mamlbench.correlate(turned, turned, [5, 4, 5, 4, 3, 1, 1, 1])
        return [weight.neg(), sums.neg()]

    graph = check(function, torch.rand(3, 2, 5, 4, 6))
    assert "torch.ops.mamlbench" not in graph.code


def test_what_is_changed_in_place_is_left_alone():
    def function(x):
        y = x.exp()
        y.add_(1.0)
        return [y.neg()]

    assert not blocks(check(function, torch.rand(3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_of_maml_on_images(dtype):
    torch.manual_seed(0)
    learner = MAML(Conv4((1, 8, 8), 3, filters=8), Classification(), inner_steps=2).to(dtype)
    parameters = list(learner.parameters())
    y = torch.arange(3).expand(2, 3)

    def function(support, query):
        loss, _ = learner.meta_loss(TaskBatch(Examples(support, y), Examples(query, y)))
        return torch.autograd.grad(loss.sum(), parameters)

    inputs = [torch.rand(2, 3, 1, 8, 8, dtype=dtype) for _ in range(2)]
    graph = check(function, *inputs)
    calls = [node for node in graph.graph.nodes if node.op == "call_function"]
    plain = traced(function, inputs)
    before = [node for node in plain.graph.nodes if node.op == "call_function"]
    assert len(calls) < 0.6 * len(before)  # views are made once


def test_changed_parameters_are_seen():
    torch.manual_seed(0)
    learner = MAML(MLP((1,), 1, hidden=(8,)), Regression(), inner_steps=1)

    def function(x):
        loss, _ = learner.meta_loss(TaskBatch(Examples(x, x), Examples(x, x)))
        return torch.autograd.grad(loss.sum(), list(learner.parameters()))

    graph = planned(function, torch.rand(2, 5, 1))
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.mul_(1.5)
        x = torch.rand(2, 5, 1)
        found = graph(x)
    for a, b in zip(function(x), found, strict=True):
        assert torch.equal(a, b)


def test_a_trace_that_fails_on_other_values_is_not_used():
    layer = nn.Linear(2, 2)

    class Fails(Replay):
        def _trace(self, inputs):
            def trace(*_):
                raise RuntimeError("an index out of range")

            return trace

    replay = Fails(lambda x: [layer(x)])
    for _ in range(4):
        x = torch.rand(2, 2)
        assert torch.equal(replay(x)[0], layer(x))
    assert replay.trusted == 0
