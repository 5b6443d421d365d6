"""Lists of tensors as kernels take them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def integers(values: Sequence[int]) -> Any:
    """An array of int64_t."""
    return (ctypes.c_int64 * len(values))(*values)


def addresses(values: Sequence[Tensor]) -> Any:
    """An array of where tensors lie."""
    return (ctypes.c_void_p * len(values))(*[x.data_ptr() for x in values])


def with_room(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values [T, ...] as they lie one task after the other, without gaps, and room for as many."""
    room, tasks = torch.empty_like(values), len(values)
    apart = tasks == 1 or values.stride(0) * tasks == values.numel()
    if apart and values.stride() == room.stride():
        return values, room
    values = values.contiguous()
    return values, torch.empty_like(values)


def in_order(values: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The same numbers in another order in memory."""
    if values.stride() == strides:
        return values
    ordered = torch.empty_strided(values.shape, strides, dtype=values.dtype, device=values.device)
    return ordered.copy_(values)
