"""A whole report: which runs, which tables, and what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from mamlbench.config_tree import ConfigTree
from mamlbench.errors import UserError
from mamlbench.report.folder_tables import FolderTable, folder_tables
from mamlbench.report.folder_tables import sheets as folder_sheets
from mamlbench.report.matching import Match, match
from mamlbench.report.paper_tables import PaperTable, paper_table
from mamlbench.report.paper_tables import sheet as paper_sheet
from mamlbench.report.runs import Run, Skipped, collect
from mamlbench.report.sheets import Sheet
from mamlbench.tables import Table, load_table


@dataclass(frozen=True)
class Report:
    """What was asked for.

    Attributes:
        papers: tables of the papers with our runs beside them.
        folders: the runs by dataset and setting.
        runs: all runs that are in one of them.
        skipped: what looks like a run but could not be read.
    """

    papers: tuple[PaperTable, ...]
    folders: tuple[FolderTable, ...]
    runs: tuple[Run, ...]
    skipped: tuple[Skipped, ...]

    def sheets(self) -> list[Sheet]:
        """All tables as texts."""
        found = [paper_sheet(paper) for paper in self.papers]
        return found + [sheet for folder in self.folders for sheet in folder_sheets(folder)]


def report_tables(names: Sequence[str], folders: Sequence[Path], strict: bool = False) -> Report:
    """The papers' tables of these names (`all`: every one), with the runs below the folders.

    Raises:
        UserError: a table or folder that there is not; with `strict`, other protocols.
    """
    wanted = ConfigTree().choices("table") if "all" in names else names
    tables = [_table(name) for name in wanted]
    runs, skipped = collect(folders)
    matches = match(tables, runs)
    papers = tuple(paper_table(table, matches, strict) for table in tables)
    used = {id(run) for paper in papers for run in _runs_of(paper)}
    return Report(papers, (), tuple(r for r in runs if id(r) in used), tuple(skipped))


def report_folders(folders: Sequence[Path], strict: bool = False) -> Report:
    """All runs below the folders, first beside what the papers published, where that is known.

    Raises:
        UserError: a folder that there is not, or no finished run in any.
    """
    runs, skipped = collect(folders)
    if not runs:
        named = ", ".join(map(str, folders))
        why = "".join(f"; {entry.path}: {entry.why}" for entry in skipped[:1])
        raise UserError(
            f"{named}: no finished run in it{why}; accepted is a folder with summary.json and "
            "config.yaml of runs somewhere below"
        )
    tables = [_table(name) for name in ConfigTree().choices("table")]
    matches = match(tables, runs)
    papers = [paper_table(_measured(table, matches), matches, strict) for table in tables]
    papers = [paper for paper in papers if paper.lines]
    return Report(tuple(papers), tuple(folder_tables(runs, strict)), tuple(runs), tuple(skipped))


@cache
def _table(name: str) -> Table:
    return load_table(name)


def _measured(table: Table, matches: Mapping[int, Sequence[Match]]) -> Table:
    """The table's cells that have runs."""
    return replace(table, cells=tuple(cell for cell in table.cells if matches.get(id(cell))))


def _runs_of(paper: PaperTable) -> list[Run]:
    return [run for line in paper.lines if line.entry is not None for run in line.entry.runs]
