"""Sums over rows as matrix products: on a CPU several times faster than torch's reductions over any
dimension but the last."""

from __future__ import annotations

import torch
from torch import Tensor


def row_sum(x: Tensor, factor: float = 1.0) -> Tensor:
    """Sum over the rows of each batch, times a factor: [B, R, C] to [B, 1, C]."""
    batches, rows, _ = x.shape
    return torch.bmm(x.new_full((1, 1, rows), factor).expand(batches, 1, rows), x)
