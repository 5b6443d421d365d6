"""A user's own modules give the outputs that a task needs, or are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mamlbench.errors import UserError
from mamlbench.networks import require_outputs


class Picture(nn.Module):
    """Linear, for inputs of any shape."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(size, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def test_what_fits_is_taken_and_left_as_it_was():
    network = Picture(4, 3).eval()
    state = torch.get_rng_state()
    require_outputs(network, (1, 2, 2), 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert not network.training


def test_other_outputs_are_refused():
    """Otherwise three outputs would each be compared with one target, without an error."""
    with pytest.raises(UserError) as caught:
        require_outputs(nn.Linear(1, 3), (1,), 1)
    assert str(caught.value) == ("network: Linear gives [examples, 3]; accepted is [examples, 1]")
    with pytest.raises(UserError, match=r"gives \[examples, 2, 3\]; accepted is \[examples, 3\]"):
        require_outputs(nn.Linear(1, 3), (2, 1), 3)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (nn.Linear(7, 1), "shape"),
        (nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)), "running_mean"),
    ],
)
def test_what_cannot_be_run_is_refused(network, why):
    with pytest.raises(UserError, match=rf"network: \w+ fails on inputs \[2, 1\]: .*{why}"):
        require_outputs(network, (1,), 1)
