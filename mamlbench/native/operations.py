"""How the kernels become operations of torch, which traces and counters of arithmetic then see."""

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
"""By operation, what computes it into tensors that it is given, before its arguments."""


def available(x: Tensor) -> bool:
    """Whether the kernels serve such tensors here."""
    return x.device.type == "cpu" and x.dtype in _TYPES and library() is not None


def define(signature: str, room: Callable[..., Any], compute: Callable[..., None]) -> None:
    """Make an operation of torch, `torch.ops.mamlbench.NAME`.

    Args:
        signature: `NAME(...) -> ...`.
        room: gives tensors for what comes of its arguments.
        compute: fills them; takes them first, then the arguments.
    """
    name = signature.split("(")[0]

    def operation(*arguments: Any) -> Any:
        results = room(*arguments)
        compute(results, *arguments)
        return results

    _OPERATIONS.define(signature)
    _OPERATIONS.impl(name, operation, "CPU")
    _OPERATIONS.impl(name, room, "Meta")
    FILLING[getattr(torch.ops.mamlbench, name).default] = compute


def call(
    name: str, tensors: Sequence[Tensor | None], numbers: Sequence[float], shape: Sequence[int]
) -> None:
    """Call the kernel `name` for the type of the first tensor.

    Args:
        name: as in the C++ source, without its type.
        tensors: contiguous inputs and outputs, in the kernel's order.
        numbers: its int64_t and double arguments, in order.
        shape: the fields of the kernel's Grid or Shape.
    """
    first = tensors[0]
    assert first is not None
    kinds = tuple(ctypes.c_double if type(n) is float else ctypes.c_int64 for n in numbers)
    arguments = (*[ctypes.c_void_p] * len(tensors), *kinds, ctypes.c_void_p)
    function = kernel(name, first.dtype, arguments)
    addresses = [None if x is None else x.data_ptr() for x in tensors]
    function(*addresses, *numbers, _struct(tuple(shape)), torch.get_num_threads())


@cache
def kernel(name: str, dtype: torch.dtype, arguments: tuple[Any, ...]) -> Any:
    """A kernel for a floating type, with ctypes' types of its arguments before the last.

    The last one is the number of threads.
    """
    function = getattr(library(), f"{name}_{_TYPES[dtype]}")
    function.argtypes = [*arguments, ctypes.c_int]
    function.restype = None
    return function


@lru_cache(maxsize=1024)
def _struct(values: tuple[int, ...]) -> Any:
    return (ctypes.c_int64 * len(values))(*values)
