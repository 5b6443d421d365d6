"""Steps that are not finite are refused: at once, or by the optimiser without waiting."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mamlbench.algorithms import NonFiniteError
from mamlbench.algorithms.finite import Finite, can_be_guarded
from mamlbench.algorithms.outer import OPTIMIZERS
from mamlbench.running_means import RunningMeans


@pytest.fixture
def parameter() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, 2.0]))


def test_it_says_whether_losses_or_the_gradient_are_not_finite(parameter):
    losses = torch.tensor([1.0, torch.nan, 2.0])
    with pytest.raises(NonFiniteError, match=r"1 of 3 tasks .* \(first: task 1\)"):
        Finite.require([losses, parameter.detach()], losses)
    good = torch.ones(3)
    with pytest.raises(NonFiniteError, match="losses are finite"):
        Finite.require([good, torch.tensor([torch.inf])], good)
    Finite.require([good, parameter.detach()], good)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_guarded_step_changes_nothing(parameter, name):
    """The other steps are the same as without it."""
    other = nn.Parameter(parameter.detach().clone())
    optimizers = [OPTIMIZERS[name]([p], lr=0.1) for p in (parameter, other)]
    assert all(map(can_be_guarded, optimizers))
    finite = Finite()
    for value in (1.0, torch.nan, 2.0, torch.inf, -3.0):
        parameter.grad = torch.full_like(parameter, value)
        finite.guard([parameter.grad, torch.ones(4)], optimizers[0])
        optimizers[0].step()
        good = abs(value) < torch.inf
        assert float(finite.last) == good
        if good:
            other.grad = parameter.grad.clone()
            optimizers[1].step()
        assert torch.equal(parameter, other)
    assert finite.count_refused() == 2
    assert finite.count_refused() == 0


def test_the_trust_region_cannot_be_guarded(parameter):
    assert not can_be_guarded(OPTIMIZERS["trpo"]([parameter], lr=0.1))


def test_means_leave_refused_steps_out():
    means = RunningMeans()
    for loss, counts in (([1.0, 3.0], 1.0), ([torch.nan, 1.0], 0.0), ([4.0, 4.0], 1.0)):
        means.add({"loss": torch.tensor(loss)}, torch.tensor(counts))
    assert means.take() == {"loss": 3.0}
    assert means.take() == {}
    means.add({"loss": torch.tensor([torch.nan])}, torch.tensor(0.0))
    assert means.take() == {}
