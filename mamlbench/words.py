"""Counts and names formatted for sentences."""

from __future__ import annotations

from collections.abc import Mapping


def number_of(count: int | str, one: str, several: str | None = None) -> str:
    """`1 task`, `10,000 tasks`, `all remaining queries`; `several` is the plural (default: + s)."""
    if count == 1:
        return f"1 {one}"
    written = count if isinstance(count, str) else f"{count:,}"
    return f"{written} {several or one + 's'}"


def in_turn(steps_of: Mapping[str, int]) -> str:
    """The only name, or each of several names with its number of outer steps, in order."""
    if len(steps_of) == 1:
        return next(iter(steps_of))
    return ", then ".join(f"{name} ({steps:,} iterations)" for name, steps in steps_of.items())
