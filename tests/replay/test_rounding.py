"""What counts as rounding, and what does not."""

import pytest
import torch

from mamlbench.replay.rounding import SHORTER_ROUNDING, is_rounding


def thrice(x, y):
    return [3 * x, y + 1]


@pytest.mark.parametrize(("off", "right"), [(0.0, True), (9e-4, True), (2e-3, False)])
def test_a_part_of_the_largest_value(off, right):
    inputs = torch.tensor([1.0, -100.0]), torch.tensor([4])
    expected = thrice(*inputs)
    found = [expected[0] + off * 300, expected[1]]
    assert is_rounding(thrice, inputs, expected, found) is right
    assert is_rounding(thrice, inputs, expected, found, SHORTER_ROUNDING)


def test_a_result_that_is_nothing_but_rounding():
    inputs = (torch.ones(1),)

    def small(x):
        return [x, 1e-9 * x]

    assert is_rounding(small, inputs, small(*inputs), [torch.ones(1), torch.tensor([5e-7])])
    assert not is_rounding(small, inputs, small(*inputs), [torch.ones(1), torch.tensor([5e-6])])


@pytest.mark.parametrize(("at", "right"), [(1.0, True), (1.001, False)])
def test_many_equal_values_at_a_kink_may_fall_on_either_side(at, right):
    def above_one(x):
        return [(x > 1).float().mean(0, keepdim=True), x.sum(0, keepdim=True)]

    inputs = (torch.full((1000,), at),)
    expected = above_one(*inputs)
    found = [expected[0] + 0.5 * (1 if at == 1 else -1), expected[1]]
    before = torch.get_rng_state()
    assert is_rounding(above_one, inputs, expected, found) is right
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "found", [[torch.ones(2)], [torch.full((2,), 3.0), torch.tensor([float("nan")])]]
)
def test_something_else(found):
    inputs = torch.ones(2), torch.zeros(1)
    assert not is_rounding(thrice, inputs, thrice(*inputs), found)
