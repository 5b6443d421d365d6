"""The step of adam.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mamlbench.native.operations import kernel

_ARGUMENTS = (ctypes.c_int64, *[ctypes.c_void_p] * 2, *[ctypes.c_double] * 3)


def adam_step(
    params: Sequence[Tensor],
    gradients: Sequence[Tensor],
    second: Sequence[Tensor],
    rate: float,
    decay: float,
    epsilon: float,
) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters and the second moments after a step; all are new, and lie as the gradients do.

    Args:
        params, gradients, second: of one floating type, and in each place of one shape, or such
            that the gradient's is what they are expanded to.
        rate: times gradient / (sqrt(second moment) + epsilon) is taken off the parameters.
        decay: of the second moments.
        epsilon: see `rate`.
    """
    moved, after = ([torch.empty_like(g) for g in gradients] for _ in range(2))
    given = [_like(values, moved) for values in (params, gradients, second)]
    count = len(moved)
    sizes = (ctypes.c_int64 * count)(*[g.numel() for g in moved])
    lists = [_addresses(each) for each in (*given, moved, after)]
    table = (ctypes.c_void_p * len(lists))(*map(ctypes.addressof, lists))
    step = kernel("adam", moved[0].dtype, _ARGUMENTS)
    step(count, sizes, table, rate, decay, epsilon, torch.get_num_threads())
    return moved, after


def _like(values: Sequence[Tensor], results: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers in the results' order in memory."""
    return [
        x if x.stride() == y.stride() else torch.empty_like(y).copy_(x)
        for x, y in zip(values, results, strict=True)
    ]


def _addresses(values: Sequence[Tensor]) -> Any:
    return (ctypes.c_void_p * len(values))(*[x.data_ptr() for x in values])
