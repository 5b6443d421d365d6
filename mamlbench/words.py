"""Numbers of things, as a sentence has them."""

from __future__ import annotations

from collections.abc import Mapping


def number_of(count: int | str, one: str, several: str | None = None) -> str:
    """`1 task`, `10,000 tasks`, `all remaining queries`; the plural is with an s unless given."""
    if count == 1:
        return f"1 {one}"
    written = count if isinstance(count, str) else f"{count:,}"
    return f"{written} {several or one + 's'}"


def in_turn(steps_of: Mapping[str, int]) -> str:
    """The only name; of several each with the outer steps done by it, in their order."""
    if len(steps_of) == 1:
        return next(iter(steps_of))
    return ", then ".join(f"{name} ({steps:,} iterations)" for name, steps in steps_of.items())
