"""Python interface of adam.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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
    """Parameters and second moments after a step: new tensors with the gradients' memory layout.

    Args:
        params, second: lists of tensors, each [...] or [T, ...].
        gradients: [T, ...], of one floating type.
        rate: times gradient / (sqrt(second moment) + epsilon) is subtracted from the parameters.
        decay: of the second moments.
        epsilon: see `rate`.
    """
    gradients, moved = zip(*map(_with_room, gradients), strict=True)
    after = [torch.empty_like(g) for g in gradients]
    (at, params_shared), (of, second_shared) = (
        zip(*map(_given, values, gradients), strict=True) for values in (params, second)
    )
    lists = [_addresses(each) for each in (at, gradients, of, moved, after)]
    table = (ctypes.c_void_p * len(lists))(*map(ctypes.addressof, lists))
    tasks = len(gradients[0])
    sizes = _integers([g.numel() // tasks for g in gradients])
    shared = _integers(params_shared), _integers(second_shared)
    step = kernel("adam", gradients[0].dtype, _ARGUMENTS)
    threads = torch.get_num_threads()
    step(len(moved), tasks, sizes, *shared, table, rate, decay, epsilon, threads)
    return list(moved), after


def _given(values: Tensor, like: Tensor) -> tuple[Tensor, bool]:
    """Values in the layout of `like` and whether all tasks share them; then only one task's."""
    if values.dim() < like.dim():
        return _in_order(values, like.stride()[1:]), True
    if values.stride(0) == 0:
        return _in_order(values[0], like.stride()[1:]), True
    return _in_order(values, like.stride()), False


def _integers(values: Sequence[int]) -> Any:
    """An array of int64_t."""
    return (ctypes.c_int64 * len(values))(*values)


def _addresses(values: Sequence[Tensor]) -> Any:
    """An array of the tensors' addresses."""
    return (ctypes.c_void_p * len(values))(*[x.data_ptr() for x in values])


def _with_room(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values [T, ...] laid out task after task without gaps, and an empty tensor like them."""
    room, tasks = torch.empty_like(values), len(values)
    apart = tasks == 1 or values.stride(0) * tasks == values.numel()
    if apart and values.stride() == room.stride():
        return values, room
    values = values.contiguous()
    return values, torch.empty_like(values)


def _in_order(values: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The same values with these strides."""
    if values.stride() == strides:
        return values
    ordered = torch.empty_strided(values.shape, strides, dtype=values.dtype, device=values.device)
    return ordered.copy_(values)
