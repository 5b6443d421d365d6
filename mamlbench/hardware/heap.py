"""Control of what glibc does with freed memory; no effect without glibc."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

# from glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@cache
def _glibc() -> Any:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed_memory() -> None:
    """Keep freed blocks for the next step instead of returning them to the system.

    Every layer allocates and frees activations of tens of megabytes; if they came from the system
    each time, page faults would take more than half of a step on mini-ImageNet.
    """
    if _glibc() is not None:
        _glibc().mallopt(_M_MMAP_MAX, 0)
        _glibc().mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        _glibc().mallopt(_M_TOP_PAD, 2**26)


def give_back_freed_memory() -> None:
    """Return memory that is free now to the system, including gaps between used blocks."""
    if _glibc() is not None:
        _glibc().malloc_trim(0)
