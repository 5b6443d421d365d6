"""Which of the numbers that papers print are measured, and how they compare."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from mamlbench.report.paper_tables import Line, PaperTable
from mamlbench.report.results import Verdict
from mamlbench.tables import Cell, Table


def printed_once(papers: Sequence[PaperTable]) -> Iterator[tuple[PaperTable, Line]]:
    """The results for published numbers; a number that two papers print comes once."""
    seen = set()
    for paper in papers:
        for line in paper.lines:
            if line.entry is None or line.ours is None or line.cell.published is None:
                continue
            cell = line.cell
            key = (line.entry.first.folder, cell.metric, cell.step, cell.published_text)
            if key not in seen:
                seen.add(key)
                yield paper, line


def counted_once(papers: Sequence[PaperTable]) -> list[tuple[PaperTable, Line]]:
    """As `printed_once`, with only the first result of each cell."""
    found: dict[tuple[object, ...], tuple[PaperTable, Line]] = {}
    for paper, line in printed_once(papers):
        found.setdefault(_of_cell(line.cell), (paper, line))
    return list(found.values())


def coverage(
    papers: Sequence[PaperTable], tables: Collection[Table]
) -> list[tuple[Table, list[Line]]]:
    """For each known table, the printed numbers for which it names a run, measured or not.

    A number in two tables counts in the first that measured it, or else in the first.

    Args:
        papers: the tables with our results; cells without results may be missing.
        tables: all known tables, complete.
    """
    lines: dict[str, list[Line]] = {}
    for paper, line in counted_once(papers):
        lines.setdefault(paper.table.name, []).append(line)
    seen = {_of_cell(line.cell) for paper in papers for line in paper.lines if line.ours}
    for table in tables:
        for cell in table.cells:
            if cell.run and cell.published is not None and _of_cell(cell) not in seen:
                seen.add(_of_cell(cell))
                line = Line(cell, None, None, Verdict("not run"))
                lines.setdefault(table.name, []).append(line)
    return [(table, lines[table.name]) for table in tables if table.name in lines]


def _of_cell(cell: Cell) -> tuple[object, ...]:
    """What identifies a cell, and is equal for the same cell in another paper's table."""
    run = None if cell.run is None else replace(cell.run, config_dir=None)
    return run, cell.metric, cell.step, cell.published_text
