"""Numbers of things, as a sentence has them."""

from __future__ import annotations


def number_of(count: int | str, one: str, several: str | None = None) -> str:
    """`1 task`, `10,000 tasks`, `all remaining queries`; the plural is with an s unless given."""
    if count == 1:
        return f"1 {one}"
    written = count if isinstance(count, str) else f"{count:,}"
    return f"{written} {several or one + 's'}"
