"""The rows of a `metrics.csv`, as they were logged."""

from __future__ import annotations

import csv
from collections.abc import Iterator


def kept_rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Iteration and metrics of each row of a `metrics.csv`, of which a run may be at work.

    Raises:
        ValueError, KeyError, TypeError: it is not such a file.
    """
    # a last line without its end is being written, or was when the run was killed
    lines = text[: text.rfind("\n") + 1].splitlines()
    for row in csv.DictReader(lines):
        iteration = int(row.pop("iteration"))
        yield iteration, {name: float(value) for name, value in row.items() if value}
