"""MAML that adapts only a vector beside the input (after Rei, EMNLP 2015)."""

from __future__ import annotations

from typing import Any

from torch import nn

from mamlbench.algorithms.maml import MAML
from mamlbench.networks.context import WithContext
from mamlbench.objectives import Objective


class ContextVector(MAML):
    """MAML whose inner loop adapts only a context, which is concatenated to each input.

    A comparison in MAML's paper (arXiv 1703.03400, tables 3 to 5): the outer loop learns context
    and network. The context has the shape of an input, as in the authors' code.

    Args:
        network: rebuilt with an input wide enough for the context; see `MetaLearner`.
        objective: see `MetaLearner`.
        options: the arguments of `MAML`.

    Raises:
        UserError: the network is not one of mamlbench's own.
    """

    replayable = True

    def __init__(self, network: nn.Module, objective: Objective, **options: Any) -> None:
        super().__init__(WithContext(network), objective, **options)
        self.adapted_names = ["context"]
