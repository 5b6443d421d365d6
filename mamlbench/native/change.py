"""The means of change.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from mamlbench.native.lists import addresses, in_order, integers, with_room
from mamlbench.native.operations import kernel

_ARGUMENTS = (*[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 4, ctypes.c_double)


def mean_change(begin: Sequence[Tensor], end: Sequence[Tensor], total: int) -> list[Tensor]:
    """Sums over tasks of where they began less where they ended, over `total`.

    Args:
        begin: [...], in each place.
        end: [T, ...], of one floating type.
        total: what the sums are divided by.

    They lie in memory as one task's values do.
    """
    end = [with_room(values)[0] for values in end]
    given = [in_order(a, b.stride()[1:]) for a, b in zip(begin, end, strict=True)]
    sums = [torch.empty_like(a) for a in given]
    lists = [addresses(each) for each in (given, end, sums)]
    sizes = integers([x.numel() for x in given])
    step = kernel("change", end[0].dtype, _ARGUMENTS)
    step(len(end), len(end[0]), sizes, *lists, 1.0 / total, torch.get_num_threads())
    return sums
