"""What glibc does with memory that is freed; nothing without glibc."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

# of glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed_memory() -> None:
    """Have freed blocks kept for the next step instead of returned to the system.

    Activations are tens of megabytes that come and go at every layer; fetched anew each time, their
    page faults take more than half of a step on mini-ImageNet.
    """
    if _glibc() is not None:
        _glibc().mallopt(_M_MMAP_MAX, 0)
        _glibc().mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        _glibc().mallopt(_M_TOP_PAD, 2**26)


def give_back_freed_memory() -> None:
    """Return to the system what is free at this moment, also between blocks that are not."""
    if _glibc() is not None:
        _glibc().malloc_trim(0)
