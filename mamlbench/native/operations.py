"""How the kernels become operations of torch, which traces and counters of arithmetic then see."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mamlbench.native.build import library

_TYPES = {torch.float32: "float", torch.float64: "double"}
_OPERATIONS = torch.library.Library("mamlbench", "DEF")


def available(x: Tensor) -> bool:
    """Whether the kernels serve such tensors here."""
    return x.device.type == "cpu" and x.dtype in _TYPES and library() is not None


def define(signature: str, implementation: Callable[..., Any]) -> None:
    """Make `torch.ops.mamlbench.NAME` of a signature `NAME(...) -> ...` and what does it."""
    _OPERATIONS.define(signature)
    _OPERATIONS.impl(signature.split("(")[0], implementation, "CPU")


def call(
    name: str, tensors: Sequence[Tensor | None], numbers: Sequence[Any], shape: Sequence[int]
) -> None:
    """Call the kernel `name` for the type of the first tensor.

    Args:
        name: as in the C++ source, without its type.
        tensors: contiguous inputs and outputs, in the kernel's order.
        numbers: of `ctypes`.
        shape: the fields of the kernel's Grid or Shape.
    """
    first = tensors[0]
    assert first is not None
    function: Any = getattr(library(), f"{name}_{_TYPES[first.dtype]}")
    addresses = (None if x is None else ctypes.c_void_p(x.data_ptr()) for x in tensors)
    struct = (ctypes.c_int64 * len(shape))(*shape)
    function(*addresses, *numbers, struct, torch.get_num_threads())
