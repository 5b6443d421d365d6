"""Makes the kernels operations of torch, so that traces and FLOP counters see them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from mamlbench.native.build import library

_TYPES = {torch.float32: "float", torch.float64: "double"}
_OPERATIONS = torch.library.Library("mamlbench", "DEF")

FILLING: dict[Any, Callable[..., None]] = {}
"""For each operation, the function that computes its results into given tensors; see `define`."""


def on_cpu(x: Tensor) -> bool:
    """Whether a tensor is on the CPU."""
    return x.device.type == "cpu"


def available(x: Tensor) -> bool:
    """Whether the kernels can process such tensors on this machine."""
    return x.device.type == "cpu" and x.dtype in _TYPES and library() is not None


def define(signature: str, room: Callable[..., Any], fill: Callable[..., None]) -> None:
    """Define an operation of torch, `torch.ops.mamlbench.NAME`.

    Args:
        signature: `NAME(...) -> ...`.
        room: from the operation's arguments to empty tensors for its results.
        fill: computes the results into such tensors, its first argument; the others are the
            operation's.
    """
    name = signature.split("(")[0]

    def operation(*arguments: Any) -> Any:
        results = room(*arguments)
        fill(results, *arguments)
        return results

    _OPERATIONS.define(signature)
    _OPERATIONS.impl(name, operation, "CPU")
    _OPERATIONS.impl(name, room, "Meta")
    FILLING[getattr(torch.ops.mamlbench, name).default] = fill


def run(
    name: str, tensors: Sequence[Tensor | None], numbers: Sequence[float], shape: Sequence[int]
) -> None:
    """Run a kernel.

    Args:
        name: as in the C++ source, without the type.
        tensors: contiguous inputs and outputs, in the kernel's order; the type of the first one
            selects the kernel.
        numbers: the kernel's int64_t and double arguments, in order.
        shape: the fields of the kernel's Grid or Shape.
    """
    first = tensors[0]
    assert first is not None
    kinds = (ctypes.c_double if type(number) is float else ctypes.c_int64 for number in numbers)
    arguments = (*[ctypes.c_void_p] * len(tensors), *kinds, ctypes.c_void_p)
    function = kernel(name, first.dtype, arguments)
    addresses = [None if x is None else x.data_ptr() for x in tensors]
    function(*addresses, *numbers, _struct(tuple(shape)), torch.get_num_threads())


@cache
def kernel(name: str, dtype: torch.dtype, arguments: tuple[Any, ...]) -> Any:
    """A kernel for a floating type.

    `arguments` are the ctypes of all its arguments but the last, the number of threads.
    """
    function = getattr(library(), f"{name}_{_TYPES[dtype]}")
    function.argtypes = [*arguments, ctypes.c_int]
    function.restype = None
    return function


@lru_cache(maxsize=1024)
def _struct(values: tuple[int, ...]) -> Any:
    return (ctypes.c_int64 * len(values))(*values)
