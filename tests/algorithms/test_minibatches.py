"""Inner mini-batches: in cycles or with replacement, determined by the tasks' seeds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from mamlbench.algorithms.minibatches import minibatches
from mamlbench.tasks import Examples


def numbered(seeds, examples=10) -> Examples:
    """Task t's example i is 100 t + i, its target the negative."""
    x = torch.arange(examples) + 100 * torch.arange(len(seeds)).unsqueeze(1)
    return Examples(x.unsqueeze(-1), -x, np.array(seeds))


def drawn(support, size, steps, replacement=False):
    """[T, steps, size] numbers of the examples drawn."""
    batches = list(minibatches(support, size, steps, replacement))
    for batch in batches:
        assert torch.equal(batch.x.squeeze(-1), -batch.y)  # inputs stay with their targets
    return torch.stack([batch.x.squeeze(-1) for batch in batches], 1)


def test_cycles_without_replacement_and_straddles_reshuffles():
    found = drawn(numbered([7, 8]), 4, 5)
    assert found.shape == (2, 5, 4)
    for task in range(2):
        order = found[task].flatten().tolist()
        expected = list(range(100 * task, 100 * task + 10))
        assert sorted(order[:10]) == sorted(order[10:20]) == expected
        assert order[:10] != order[10:20]
    assert (found[0] != found[1] - 100).any()


def test_order_is_a_function_of_the_seed():
    whole = drawn(numbered([3, 4, 5]), 3, 4)
    alone = drawn(numbered([5]), 3, 4)
    assert torch.equal(whole[2] - 200, alone[0])
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert torch.equal(drawn(numbered([3, 4, 5]), 3, 4), whole)
    assert torch.equal(drawn(numbered([3, 4, 5]), 3, 2), whole[:, :2])


def test_with_replacement_each_batch_is_drawn_from_the_whole_set():
    found = drawn(numbered([1, 2], examples=4), 3, 400, replacement=True)
    assert found.shape == (2, 400, 3)
    for batches in found - 100 * torch.arange(2).reshape(2, 1, 1):
        assert all(len(set(batch.tolist())) == 3 for batch in batches)
        counts = Counter(batches.flatten().tolist())
        assert sorted(counts) == [0, 1, 2, 3]
        assert all(abs(count - 300) < 45 for count in counts.values())  # 5 standard deviations
        # in cycles, four in a row would never repeat one
        fours = batches.flatten().reshape(-1, 4)
        assert any(len(set(four.tolist())) < 4 for four in fours)
    assert (found[0] != found[1] - 100).any()


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("size", [None, 10, 25])
def test_the_whole_set_each_time(size, replacement):
    support = numbered([1, 2])
    batches = list(minibatches(support, size, 3, replacement))
    assert len(batches) == 3
    assert all(torch.equal(batch.x, support.x) for batch in batches)
