"""The step of adam.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from mamlbench.native.lists import addresses, in_order, integers, with_room
from mamlbench.native.operations import kernel

_ARGUMENTS = (*[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 4, *[ctypes.c_double] * 3)


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
        params, second: [...] or [T, ...] in each place.
        gradients: [T, ...], of one floating type.
        rate: times gradient / (sqrt(second moment) + epsilon) is taken off the parameters.
        decay: of the second moments.
        epsilon: see `rate`.
    """
    gradients, moved = zip(*map(with_room, gradients), strict=True)
    after = [torch.empty_like(g) for g in gradients]
    (at, params_shared), (of, second_shared) = (
        zip(*map(_given, values, gradients), strict=True) for values in (params, second)
    )
    lists = [addresses(each) for each in (at, gradients, of, moved, after)]
    table = (ctypes.c_void_p * len(lists))(*map(ctypes.addressof, lists))
    tasks = len(gradients[0])
    sizes = integers([g.numel() // tasks for g in gradients])
    shared = integers(params_shared), integers(second_shared)
    step = kernel("adam", gradients[0].dtype, _ARGUMENTS)
    threads = torch.get_num_threads()
    step(len(moved), tasks, sizes, *shared, table, rate, decay, epsilon, threads)
    return list(moved), after


def _given(values: Tensor, like: Tensor) -> tuple[Tensor, bool]:
    """The same numbers as others lie in memory; of one task, where all share them."""
    if values.dim() < like.dim():
        return in_order(values, like.stride()[1:]), True
    if values.stride(0) == 0:
        return in_order(values[0], like.stride()[1:]), True
    return in_order(values, like.stride()), False
