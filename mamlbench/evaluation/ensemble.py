"""Several learners tested as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from mamlbench.algorithms.adapted import Adapted, Support
from mamlbench.algorithms.base import MetaLearner


@dataclass(frozen=True)
class AdaptedTogether(Adapted):
    """Several learners adapted to the same T tasks; `params` and `support` are the first one's.

    Attributes:
        members: the result of each learner.
    """

    members: tuple[Adapted, ...] = ()


class Ensemble(MetaLearner):
    """Learners of one kind that adapt independently and predict together.

    Their outputs (for classifiers, logits) are averaged, as MAML++'s official code does with its
    best validation checkpoints (arXiv 1810.09502). An ensemble is for testing; it does not learn.

    Args:
        members: trained learners, best first.
    """

    def __init__(self, members: Sequence[MetaLearner]) -> None:
        nn.Module.__init__(self)  # it has no options of its own
        self.members = nn.ModuleList(members)
        self.network, self.objective = members[0].network, members[0].objective
        self.inner_steps, self.particles = members[0].inner_steps, members[0].particles

    @override
    def start_optimizer(self) -> None:
        """Start none: nothing is to be learned."""

    @override
    def adapt(self, support: Support, steps: int | None = None) -> AdaptedTogether:
        own = tuple(member.adapt(support, steps) for member in self._learners())
        return AdaptedTogether(own[0].params, own[0].support, own[0].particles, own)

    @override
    def predict(
        self, adapted: Adapted, x: Tensor, step: int = -1, transductive: bool = True
    ) -> Tensor:
        """Mean outputs [T, P, M, C] over the members, particle by particle."""
        assert isinstance(adapted, AdaptedTogether)
        outputs = [
            member.predict(own, x, step, transductive)
            for member, own in zip(self._learners(), adapted.members, strict=True)
        ]
        return torch.stack(outputs).mean(0)

    def _learners(self) -> list[MetaLearner]:
        return [member for member in self.members if isinstance(member, MetaLearner)]
