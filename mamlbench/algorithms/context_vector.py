"""MAML that adapts a vector beside the input (after Rei, EMNLP 2015)."""

from __future__ import annotations

from typing import Any

from torch import nn

from mamlbench.algorithms.maml import MAML
from mamlbench.networks.context import WithContext
from mamlbench.objectives import Objective


class ContextVector(MAML):
    """The inner loop adapts a context that the network sees beside each input, and nothing else.

    A comparison of MAML's paper (arXiv 1703.03400, tables 3 to 5): context and network are learned
    as MAML learns its parameters. The context has an input's shape, as in the authors' code.

    Args:
        network: made anew with room for the context; see `MetaLearner`.
        objective: see `MetaLearner`.
        options: the arguments of `MAML`.

    Raises:
        UserError: a network that is not of this package.
    """

    replayable = True

    def __init__(self, network: nn.Module, objective: Objective, **options: Any) -> None:
        super().__init__(WithContext(network), objective, **options)
        self.adapted_names = ["context"]
