"""How the kernels become operations of torch, which traces and counters of arithmetic then see."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from mamlbench.native.build import library

_TYPES = {torch.float32: "float", torch.float64: "double"}
_OPERATIONS = torch.library.Library("mamlbench", "DEF")


class Call:
    """A kernel with its arguments, to run as often as wanted.

    Args:
        name: as in the C++ source, without its type.
        tensors: contiguous inputs and outputs, in the kernel's order; it is the kernel for the type
            of the first one.
        numbers: its int64_t and double arguments, in order.
        shape: the fields of the kernel's Grid or Shape.

    Attributes:
        tensors: as given.
    """

    def __init__(
        self,
        name: str,
        tensors: Sequence[Tensor | None],
        numbers: Sequence[float],
        shape: Sequence[int],
    ) -> None:
        first = tensors[0]
        assert first is not None
        kinds = tuple(ctypes.c_double if type(n) is float else ctypes.c_int64 for n in numbers)
        arguments = (*[ctypes.c_void_p] * len(tensors), *kinds, ctypes.c_void_p)
        self._addresses = [None if x is None else x.data_ptr() for x in tensors]
        self.__name__, self.tensors = name, tensors
        self._function = kernel(name, first.dtype, arguments)
        self._rest = (*numbers, _struct(tuple(shape)))

    def lies_in(self, places: Collection[int]) -> bool:
        """Whether all its tensors lie at these addresses, and none is a copy made for it."""
        return all(tensor is None or tensor.data_ptr() in places for tensor in self.tensors)

    def __call__(self) -> None:
        """Run it."""
        self.at(self._addresses)

    def at(self, addresses: Sequence[int | None]) -> None:
        """Run it with tensors like its own that lie elsewhere."""
        self._function(*addresses, *self._rest, torch.get_num_threads())


@dataclass(frozen=True)
class Filling:
    """What computes an operation's results into tensors that it is given.

    Attributes:
        prepare: gives the call, from the results' tensors and then the operation's arguments.
    """

    prepare: Callable[..., Call]

    def fill(self, results: Any, *arguments: Any) -> None:
        """Compute now."""
        self.prepare(results, *arguments)()


class Repeated:
    """A filling for arguments that differ in nothing but where in memory they lie.

    It is prepared once: what a call needs beside the addresses stays the same.
    """

    def __init__(self, filling: Filling) -> None:
        self._prepare = filling.prepare
        self._call: Call | None = None
        self._order: list[int | None] = []
        self.__name__ = "repeated"

    def __call__(self, results: Any, *arguments: Any) -> None:
        """Compute now."""
        tensors = _tensors((results, *arguments))
        if self._call is not None:
            self._call.at([None if i is None else tensors[i].data_ptr() for i in self._order])
            return
        call = self._prepare(results, *arguments)
        call()
        places = [tensor.data_ptr() for tensor in tensors]
        if call.lies_in(places) and len(set(places)) == len(places):
            self._order = [x if x is None else places.index(x.data_ptr()) for x in call.tensors]
            self._call, call.tensors = call, ()  # their memory shall be free for others


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    """The tensors among values, and in lists among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
            found.extend(value)
    return found


FILLING: dict[Any, Filling] = {}
"""By operation."""


def on_cpu(x: Tensor) -> bool:
    """Whether a tensor lies where a CPU computes."""
    return x.device.type == "cpu"


def available(x: Tensor) -> bool:
    """Whether the kernels serve such tensors here."""
    return x.device.type == "cpu" and x.dtype in _TYPES and library() is not None


def define(signature: str, room: Callable[..., Any], prepare: Callable[..., Call]) -> None:
    """Make an operation of torch, `torch.ops.mamlbench.NAME`.

    Args:
        signature: `NAME(...) -> ...`.
        room: gives tensors for what comes of its arguments.
        prepare: see `Filling`.
    """
    name, filling = signature.split("(")[0], Filling(prepare)

    def operation(*arguments: Any) -> Any:
        results = room(*arguments)
        filling.fill(results, *arguments)
        return results

    _OPERATIONS.define(signature)
    _OPERATIONS.impl(name, operation, "CPU")
    _OPERATIONS.impl(name, room, "Meta")
    FILLING[getattr(torch.ops.mamlbench, name).default] = filling


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
