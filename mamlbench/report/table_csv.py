"""All numbers of a report as one CSV, unrounded, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mamlbench.report.entries import Entry
from mamlbench.report.folder_tables import FolderTable
from mamlbench.report.paper_tables import PaperTable, asked_iterations
from mamlbench.report.results import Result

COLUMNS = (
    *("table", "row", "column", "metric", "step"),
    *("published", "published_interval", "interval_kind", "verified"),
    *("ours", "ours_ci95", "seeds", "seed_sd", "test_tasks"),
    *("difference", "verdict", "iterations", "iterations_asked"),
    *("protocol", "code", "device", "folders", "command"),
)


def to_csv(papers: Sequence[PaperTable], folders: Sequence[FolderTable]) -> str:
    """A line for each cell and result, then one for each setting; fractions are in percent."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for paper in papers:
        for line in paper.lines:
            cell = line.cell
            rows.append(
                {
                    "table": paper.table.name,
                    "row": cell.row,
                    "column": cell.column,
                    "metric": cell.metric,
                    "step": cell.step,
                    "published": cell.published,
                    "published_interval": cell.interval,
                    "interval_kind": cell.interval_kind,
                    "verified": cell.verified,
                    "difference": line.difference,
                    "verdict": line.verdict.word,
                    "iterations_asked": asked_iterations(line),
                    **_of_entry(line.entry, line.ours),
                }
            )
    for table in folders:
        for entry, label, found in zip(table.entries, table.labels, table.results, strict=True):
            place = {"table": table.title, "row": label, "metric": table.metric}
            rows.append({**place, **_of_entry(entry, found)})
    return str(pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False))


def _of_entry(entry: Entry | None, found: Result | None) -> dict[str, Any]:
    if entry is None:
        return {}
    numbers: dict[str, Any] = {}
    if found is not None:
        numbers = {
            "ours": found.mean,
            "ours_ci95": found.ci95,
            "seed_sd": found.seed_sd,
            "test_tasks": found.n_tasks,
        }
    return {
        **numbers,
        "seeds": " ".join(str(run.seed) for run in entry.runs),
        "iterations": entry.first.iterations,
        "protocol": entry.first.summary.evaluation,
        "code": entry.code,
        "device": entry.first.summary.device,
        "folders": " ".join(str(run.folder) for run in entry.runs),
        "command": entry.first.summary.command,
    }
