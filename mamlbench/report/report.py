"""A whole report: which runs, which tables, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError
from mamlbench.report.folder_tables import FolderTable, folder_tables
from mamlbench.report.matching import Match, match
from mamlbench.report.paper_tables import PaperTable, paper_table
from mamlbench.report.runs import Run, Skipped, collect
from mamlbench.report.sheets import Sheet
from mamlbench.tables import Cell, Table, load_table, load_tables


@dataclass(frozen=True)
class Report:
    """The tables of a report and their runs.

    Attributes:
        papers: tables of the papers with our runs beside them.
        folders: the runs by dataset and setting.
        runs: all runs in these tables.
        skipped: folders that look like a run's but could not be read.
        known: all papers' tables that were asked for, complete.
    """

    papers: tuple[PaperTable, ...]
    folders: tuple[FolderTable, ...]
    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]
    known: tuple[Table, ...]

    def sheets(self) -> list[Sheet]:
        """All tables as texts, each followed by the paired differences of its results."""
        tables: tuple[PaperTable | FolderTable, ...] = (*self.papers, *self.folders)
        return [sheet for table in tables for sheet in table.sheets()]


def report_tables(
    names: Sequence[str],
    folders: Sequence[Path],
    strict: bool = False,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    tree: ConfigTree | None = None,
) -> Report:
    """The papers' tables of these names (`all`: every one), with the runs below the folders.

    Only the given rows and seeds are included (None: all). The tables are those of `tree` (None:
    mamlbench's own).

    Raises:
        UserError: a table, row or folder does not exist, or `strict` and a protocol differs.
    """
    wanted = load_tables(tree) if "all" in names else [load_table(name, tree) for name in names]
    tables = [table.only(rows, seeds) for table in wanted]
    runs, skipped = collect(folders)
    runs = [run for run in runs if seeds is None or run.seed in seeds]
    matches = match(tables, runs)
    papers = tuple(paper_table(table, matches, strict) for table in tables)
    if "all" in names:  # those with results first
        papers = tuple(sorted(papers, key=lambda paper: not _runs_of(paper)))
    used = {id(run) for paper in papers for run in _runs_of(paper)}
    of_tables = tuple(run for run in runs if id(run) in used)
    return Report(papers, (), of_tables, tuple(skipped), tuple(wanted))


def report_folders(
    folders: Sequence[Path], strict: bool = False, tree: ConfigTree | None = None
) -> Report:
    """All runs below the folders: beside published values where there are any, then all of them.

    Published values are those in the tables of `tree` (None: mamlbench's own).

    Raises:
        UserError: a folder does not exist, no run is finished, or `strict` and protocols differ.
    """
    runs, skipped = collect(folders)
    if not runs:
        named = ", ".join(map(str, folders))
        why = "".join(f"; {entry.path}: {entry.why}" for entry in skipped[:1])
        raise UserError(
            f"{named}: no finished run there{why}; accepted is a folder with runs below it, each "
            "with summary.json and config.yaml"
        )
    tables = load_tables(tree)
    matches = match(tables, runs)
    papers = [paper_table(_measured(table, matches), matches, strict) for table in tables]
    papers = [paper for paper in papers if paper.lines]
    in_folders = tuple(folder_tables(runs, strict))
    return Report(tuple(papers), in_folders, tuple(runs), tuple(skipped), tables)


def _measured(table: Table, matches: Mapping[Cell, Sequence[Match]]) -> Table:
    """The table with only the cells that have runs."""
    return replace(table, cells=tuple(cell for cell in table.cells if matches.get(cell)))


def _runs_of(paper: PaperTable) -> list[Run]:
    return [run for line in paper.lines if line.entry is not None for run in line.entry.runs]
