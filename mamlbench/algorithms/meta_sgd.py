"""Meta-SGD (Li, Zhou, Chen and Li, 2017, arXiv 1707.09835)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.maml import MAML
from mamlbench.errors import require
from mamlbench.objectives import Objective


class MetaSGD(MAML):
    """MAML with a learned rate for each single parameter: φ = θ - α ∘ ∇L_support(θ) (algorithm 1).

    The rates are the same in all inner steps (the paper takes one step) and may become negative, so
    they change the direction of a step as well as its length.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        options: the arguments of `MAML`; every rate starts at `inner_lr`.

    Raises:
        BadValue: `learn_inner_lr` is true: it is MAML's single learned rate.
    """

    replayable = True

    def __init__(self, network: nn.Module, objective: Objective, **options: Any) -> None:
        super().__init__(network, objective, **options)
        single = self.learned_inner_lr is not None
        require(not single, "learn_inner_lr", single, "false: each parameter has a learned rate")
        own = dict(network.named_parameters())
        self.rates = nn.ParameterList(
            torch.full_like(own[name], self.inner_lr, requires_grad=False)
            for name in self.adapted_names
        )

    @override
    def inner_rates(self, step: int) -> Mapping[str, float | Tensor]:
        return dict(zip(self.adapted_names, self.rates, strict=True))
