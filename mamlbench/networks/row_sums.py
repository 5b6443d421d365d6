"""Sums over rows: on a CPU as matrix products, several times faster than torch's reductions over
any dimension but the last; on a GPU as those, for products with a single row would leave most of
it idle."""

from __future__ import annotations

import torch
from torch import Tensor

from mamlbench.native import on_cpu


def row_sum(x: Tensor, factor: float = 1.0) -> Tensor:
    """Sum over the rows of each batch, times a factor: [B, R, C] to [B, 1, C]."""
    batches, rows, _ = x.shape
    if not on_cpu(x):
        if factor == 1.0 / rows:
            return x.mean(1, keepdim=True)
        total = x.sum(1, keepdim=True)
        return total if factor == 1.0 else total * factor
    return torch.bmm(x.new_full((1, 1, rows), factor).expand(batches, 1, rows), x)
