"""A kernel prepared once computes for tensors that lie anywhere."""

from __future__ import annotations

import pytest
import runs
import torch

from mamlbench.native.operations import FILLING, Repeated

GRID = [5, 4, 3, 2, 3, 2, 1, 0]


@pytest.fixture(autouse=True)
def kernels():
    runs.needing_kernels()


def arguments(bias: bool = True):
    """Images, kernels and biases of two tasks, always elsewhere in memory."""
    x, weight = torch.randn(2, 3, 5, 4, 6), torch.randn(2, 7, 3, 3, 6)
    return x, weight, torch.randn(2, 7) if bias else None, GRID


@pytest.mark.parametrize("bias", [True, False])
def test_other_tensors(bias):
    convolve = Repeated(FILLING[torch.ops.mamlbench.convolve.default])
    kept = []
    for _ in range(4):
        given = arguments(bias)
        result = torch.full((2, 3, 3, 2, 7), torch.nan)
        convolve(result, *given)
        assert torch.equal(result, torch.ops.mamlbench.convolve(*given))
        kept.append((given, result))
    assert convolve._call is not None
    assert not convolve._call.tensors


def test_several_results_and_lists_of_tensors():
    second = Repeated(FILLING[torch.ops.mamlbench.batch_norm_second.default])
    for _ in range(3):
        g, x, v = (torch.randn(2, 1, 9, 1, 4) for _ in range(3))
        weight, bias, mean, of_weight, of_bias = (torch.randn(2, 1, 4) for _ in range(5))
        given = [g, x, weight, bias, mean, torch.rand(2, 1, 4), [v, of_weight, of_bias], [1, 0, 0]]
        results = torch.empty_like(g), torch.empty_like(x), torch.empty_like(weight)
        second(results, *given)
        for a, b in zip(results, torch.ops.mamlbench.batch_norm_second(*given), strict=True):
            assert torch.equal(a, b)


def test_tensors_that_are_copied_for_it_are_copied_each_time():
    convolve = Repeated(FILLING[torch.ops.mamlbench.convolve.default])
    for _ in range(3):
        x, weight, bias, grid = arguments()
        given = x.transpose(0, 1).contiguous().transpose(0, 1), weight, bias, grid
        result = torch.empty(2, 3, 3, 2, 7)
        convolve(result, *given)
        assert torch.equal(result, torch.ops.mamlbench.convolve(*given))
    assert convolve._call is None


def test_one_tensor_in_two_places_is_not_mistaken():
    correlate = Repeated(FILLING[torch.ops.mamlbench.correlate.default])
    grid = [5, 4, 5, 4, 3, 1, 1, 1]
    x = torch.randn(2, 3, 5, 4, 6)
    for maps in (x, torch.randn_like(x)):
        results = torch.empty(2, 6, 3, 3, 6), torch.empty(2, 6)
        correlate(results, x, maps, grid)
        for a, b in zip(results, torch.ops.mamlbench.correlate(x, maps, grid), strict=True):
            assert torch.equal(a, b)
