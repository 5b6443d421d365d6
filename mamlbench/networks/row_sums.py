"""Sums over rows: matrix products on a CPU, torch's reductions on a GPU.

On a CPU, reductions over any dimension except the last are several times slower than products. On a
GPU, products with a single row would leave most of it idle.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from mamlbench.native import on_cpu

_LONG = 2048
"""From this many rows on, a GPU first treats up to `_SIDE_BY_SIDE` of them as one: with more
columns it works several times faster."""

_SIDE_BY_SIDE = 64


def row_sum(x: Tensor) -> Tensor:
    """Sum over the rows of each batch, [B, R, C] to [B, 1, C]."""
    if on_cpu(x):
        return _times(x, 1.0)
    wide = _wide(x)
    return x.sum(1, True) if wide is None else wide.sum(1).view(_beside(x)).sum(1, True)


def row_mean(x: Tensor) -> Tensor:
    """Mean over the rows of each batch, [B, R, C] to [B, 1, C]."""
    if on_cpu(x):
        return _times(x, 1.0 / x.shape[1])
    wide = _wide(x)
    return x.mean(1, True) if wide is None else wide.mean(1).view(_beside(x)).mean(1, True)


def row_mean_square(x: Tensor) -> Tensor:
    """Mean of the squares over the rows of each batch, [B, R, C] to [B, 1, C]."""
    if on_cpu(x):
        return _times(x.square(), 1.0 / x.shape[1])
    length, wide = torch.linalg.vector_norm, _wide(x)
    if wide is None:
        return length(x, dim=1, keepdim=True).square() / x.shape[1]
    return length(length(wide, dim=1).view(_beside(x)), dim=1, keepdim=True).square() / x.shape[1]


def _times(x: Tensor, factor: float) -> Tensor:
    batches, rows, _ = x.shape
    return torch.bmm(x.new_full((1, 1, rows), factor).expand(batches, 1, rows), x)


def _wide(x: Tensor) -> Tensor | None:
    """The rows, several of them side by side as one; None if there are few rows."""
    batches, rows, _ = x.shape
    beside = divisor(rows, _SIDE_BY_SIDE)
    return None if rows < _LONG or beside == 1 else x.reshape(batches, rows // beside, -1)


def _beside(x: Tensor) -> tuple[int, int, int]:
    """The shape in which rows that were side by side are below each other again."""
    batches, rows, columns = x.shape
    return batches, divisor(rows, _SIDE_BY_SIDE), columns


@cache
def divisor(total: int, most: int) -> int:
    """The largest divisor of `total` that is at most `most`."""
    return next(d for d in range(min(total, most), 0, -1) if total % d == 0)
