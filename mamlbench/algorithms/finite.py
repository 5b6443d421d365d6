"""Outer steps whose losses or meta-gradient are not finite change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class NonFiniteError(ArithmeticError):
    """The meta-loss or its gradient is NaN or infinite; the meta-parameters are unchanged.

    Attributes:
        losses: [T] the losses of that batch's tasks.
    """

    def __init__(self, losses: Tensor) -> None:
        self.losses = losses.detach().cpu()
        bad = torch.nonzero(~torch.isfinite(self.losses)).flatten().tolist()
        many = f"{len(bad)} of {len(losses)} tasks have a loss that is not finite"
        super().__init__(
            f"{many} (first: task {bad[0]})"
            if bad
            else "the losses are finite but their meta-gradient is not"
        )


class Finite:
    """Checks that steps are finite: at once, or on a GPU without waiting for the result.

    Attributes:
        last: 0 if the last guarded step was not finite, otherwise 1; on a GPU a tensor.
        refused: how many guarded steps were not finite; on a GPU a tensor.
    """

    def __init__(self) -> None:
        self.last: Tensor | int = 1
        self.refused: Tensor | int = 0

    @staticmethod
    def require(values: Sequence[Tensor], losses: Tensor) -> None:
        """Check that all values, which include the losses, are finite.

        Raises:
            NonFiniteError: they are not.
        """
        if not math.isfinite(_size(values)):
            raise NonFiniteError(losses)

    def guard(self, values: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> None:
        """Make the optimiser's next step change nothing unless all values are finite."""
        bad = (~torch.isfinite(_size(values))).float()
        optimizer.found_inf = bad  # type: ignore[attr-defined]  # as torch's GradScaler tells it
        self.last, self.refused = 1 - bad, self.refused + bad

    def count_refused(self) -> int:
        """The number of steps refused since the last call."""
        count, self.refused = int(self.refused), 0
        return count


def _size(values: Sequence[Tensor]) -> Tensor:
    """A number that is finite only if all values are."""
    return torch.stack(torch._foreach_norm(list(values), 1)).sum()


def can_be_guarded(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `guard` works for this optimiser; it does for torch's fused ones."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))
