"""Sums over rows: on a CPU as matrix products, several times faster than torch's reductions over
any dimension but the last; on a GPU as those, for products with a single row would leave most of
it idle."""

from __future__ import annotations

import torch
from torch import Tensor

from mamlbench.native import on_cpu


def row_sum(x: Tensor, factor: float = 1.0) -> Tensor:
    """Sum over the rows of each batch, times a factor: [B, R, C] to [B, 1, C]."""
    if not on_cpu(x):
        return x.sum(1, keepdim=True) if factor == 1 else x.sum(1, keepdim=True) * factor
    batches, rows, _ = x.shape
    return torch.bmm(x.new_full((1, 1, rows), factor).expand(batches, 1, rows), x)
