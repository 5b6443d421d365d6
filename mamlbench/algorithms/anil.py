"""ANIL: almost no inner loop (Raghu, Raghu, Bengio and Vinyals, ICLR 2020, arXiv 1909.09157)."""

from __future__ import annotations

from typing import Any

from torch import nn

from mamlbench.algorithms.maml import MAML
from mamlbench.errors import require
from mamlbench.objectives import Objective


class ANIL(MAML):
    """MAML whose inner loop adapts only the head, at meta-training and meta-test (section 4).

    All tasks share the features, which only the outer loop changes.

    Args:
        network: see `MetaLearner`.
        objective: see `MetaLearner`.
        head: name of the module that the inner loop adapts, usually the last linear layer.
        options: the arguments of `MAML`.

    Raises:
        BadValue: the network has no such module, or the module has nothing to adapt.
    """

    replayable = True

    def __init__(
        self, network: nn.Module, objective: Objective, *, head: str = "head", **options: Any
    ) -> None:
        super().__init__(network, objective, **options)
        names = [name for name in self.adapted_names if name.startswith(f"{head}.")]
        modules = {name.rpartition(".")[0] for name in self.adapted_names} - {""}
        require(bool(names), "head", head, f"a part of the network: {', '.join(sorted(modules))}")
        self.adapted_names = names
