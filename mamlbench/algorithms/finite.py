"""Steps whose losses or meta-gradient are not finite change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class NonFiniteError(ArithmeticError):
    """The meta-loss or its gradient is NaN or infinite; the meta-parameters are as they were.

    Attributes:
        losses: [T] the losses of the tasks of that batch.
    """

    def __init__(self, losses: Tensor) -> None:
        self.losses = losses.detach().cpu()
        bad = torch.nonzero(~torch.isfinite(self.losses)).flatten().tolist()
        super().__init__(
            f"{len(bad)} of {len(losses)} tasks have a loss that is not finite, first task {bad[0]}"
            if bad
            else "the losses are finite but their meta-gradient is not"
        )


class Finite:
    """Whether steps are finite: asked at once, or on a GPU without waiting for it.

    Attributes:
        last: 1 where the last step was, else 0; on a GPU a number there.
        refused: how many steps that were not waited for were not; a number there too.
    """

    def __init__(self) -> None:
        self.last: Tensor | int = 1
        self.refused: Tensor | int = 0

    @staticmethod
    def require(values: Sequence[Tensor], losses: Tensor) -> None:
        """See that all values, the losses among them, are finite.

        Raises:
            NonFiniteError: they are not.
        """
        if not math.isfinite(_size(values)):
            raise NonFiniteError(losses)

    def guard(self, values: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Have the optimiser's next step change nothing, unless all values are finite."""
        bad = (~torch.isfinite(_size(values))).float()
        optimizer.found_inf = bad  # type: ignore[attr-defined]  # as torch's GradScaler tells it
        self.last, self.refused = 1 - bad, self.refused + bad

    def count_refused(self) -> int:
        """The steps refused since this was asked before."""
        count, self.refused = int(self.refused), 0
        return count


def _size(values: Sequence[Tensor]) -> Tensor:
    """A number that is finite where all of the values are."""
    return torch.stack(torch._foreach_norm(list(values), 1)).sum()


def can_be_guarded(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser's steps can be made to change nothing; torch's fused ones can."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
