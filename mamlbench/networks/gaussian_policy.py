"""Policies that draw their actions from a normal distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.errors import require
from mamlbench.networks.layers import Rows
from mamlbench.networks.mlp import MLP


class GaussianMLP(MLP):
    """A perceptron gives the mean; standard deviations are parameters, the same for all inputs.

    MAML's network for control is D-100-100-A with ReLU (arXiv 1703.03400, section 5.3).

    Args:
        input_shape: shape of an observation.
        outputs: 2A, for A action values: outputs [T, M, 2A] are means, then logarithms of the
            standard deviations.
        hidden: see `MLP`.
        activation: see `MLP`.
        norm: see `MLP`; must be `none` or `group` if the policy acts.
        affine: see `MLP`.
        init: see `MLP`.
        initial_sd: standard deviation of each action value before any training.
        min_sd: lower bound of the standard deviations.

    Raises:
        BadValue: an odd number of outputs, `min_sd` not positive, or `initial_sd` below `min_sd`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        hidden: tuple[int, ...] = (100, 100),
        activation: str = "relu",
        norm: str = "none",
        affine: str = "shift",
        init: str = "xavier",
        initial_sd: float = 1.0,
        min_sd: float = 1e-6,
    ) -> None:
        even = "an even number: a mean and a deviation for each action value"
        require(outputs % 2 == 0, "outputs", outputs, even)
        require(min_sd > 0, "min_sd", min_sd, "more than 0")
        require(initial_sd >= min_sd, "initial_sd", initial_sd, f"min_sd ({min_sd:g}) or more")
        super().__init__(input_shape, outputs // 2, hidden, activation, norm, affine, init)
        self.log_sd = nn.Parameter(torch.full((outputs // 2,), math.log(initial_sd)))
        self.least_log_sd = math.log(min_sd)

    @override
    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        mean = super().forward(x, rows)
        log_sd = self.log_sd.clamp(min=self.least_log_sd).unsqueeze(-2)  # [1, A] or [T, 1, A]
        return torch.cat([mean, log_sd.expand_as(mean)], dim=-1)
