"""How far tasks went from where all began, in the mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamlbench.native import available
from mamlbench.native import change as native
from mamlbench.networks.base import Params


def mean_change(
    path: Sequence[Params], names: Sequence[str], weights: Sequence[float] | None, total: int
) -> dict[str, Tensor]:
    """For each name the sum over tasks of its first value less its last, over `total`, [...].

    Args:
        path: parameters [T, ...] after each inner step, from those that all tasks share on.
        names: of which.
        weights: of each step's change (None: 1 each).
        total: what the sums are divided by.
    """
    begin, end = ([params[name] for name in names] for params in (path[0], path[-1]))
    if weights is None and end and available(end[0]):
        return dict(zip(names, native.mean_change([a[0] for a in begin], end, total), strict=True))
    if weights is None:
        changes = [a - b for a, b in zip(begin, end, strict=True)]
    else:
        steps = list(zip(weights, path[:-1], path[1:], strict=True))
        changes = [torch.stack([w * (p[n] - q[n]) for w, p, q in steps]).sum(0) for n in names]
    return {name: each.sum(0) / total for name, each in zip(names, changes, strict=True)}
