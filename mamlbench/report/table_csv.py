"""All numbers of a report or a comparison as one CSV, ours unrounded, for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mamlbench.config.settings import option_text
from mamlbench.metrics import scale
from mamlbench.report.compare import Comparison
from mamlbench.report.entries import Entry
from mamlbench.report.folder_tables import FolderTable
from mamlbench.report.paper_tables import PaperTable
from mamlbench.report.results import Result

COLUMNS = (
    *("table", "row", "column", "metric", "step"),
    *("published", "published_interval", "interval_kind", "verified"),
    *("ours", "ours_ci95", "seeds", "seed_sd", "test_tasks"),
    *("difference", "verdict", "iterations", "iterations_asked"),
    *("protocol", "code", "device", "folders", "command"),
)

OF_TWO = ("kind", "name", "a", "b", "a_ci95", "b_ci95", "difference", "difference_ci95", "tasks")


def to_csv(papers: Sequence[PaperTable], folders: Sequence[FolderTable]) -> str:
    """A line for each cell and result, then one for each setting; fractions are in percent.

    Published numbers keep their printed digits.
    """
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
                    "published": None if cell.published is None else cell.published.text,
                    "published_interval": None if cell.interval is None else cell.interval.text,
                    "interval_kind": cell.interval_kind,
                    "verified": cell.verified,
                    "difference": line.difference,
                    "verdict": line.verdict.word,
                    "iterations_asked": line.asked_iterations,
                    **_of_entry(line.entry, line.ours),
                }
            )
    for table in folders:
        for entry, label, found in zip(table.entries, table.labels, table.results, strict=True):
            place = {"table": table.title, "row": label, "metric": table.metric}
            rows.append({**place, **_of_entry(entry, found)})
    return _csv(rows, COLUMNS)


def comparison_to_csv(found: Comparison) -> str:
    """A line for each fact and option that differs between the runs, then one for each metric.

    `kind` is `run` (folder, seed, device and other facts), `option` or `metric`; fractions are in
    percent, and differences are b minus a, paired by task.
    """
    folders = str(found.one.folder), str(found.other.folder)
    rows: list[dict[str, Any]] = [
        {"kind": "run", "name": name, "a": a, "b": b}
        for name, (a, b) in {"folder": folders, **found.facts}.items()
    ]
    rows += [
        {"kind": "option", "name": name, "a": option_text(a), "b": option_text(b)}
        for name, (a, b) in found.options.items()
    ]
    rows += [_of_metric(found, metric) for metric in found.differences]
    return _csv(rows, OF_TWO)


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    import pandas as pd

    # as objects: a column of integers with missing values would become floats
    return str(pd.DataFrame(rows, columns=list(columns), dtype=object).to_csv(index=False))


def _of_metric(found: Comparison, metric: str) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": "metric", "name": metric}
    for side, run in (("a", found.one), ("b", found.other)):
        estimate = run.estimate(metric)
        if estimate is not None and estimate.mean is not None:
            row[side] = scale(metric) * estimate.mean
        if estimate is not None and estimate.ci95 is not None:
            row[f"{side}_ci95"] = scale(metric) * estimate.ci95
    apart = found.differences[metric]
    if apart is not None:
        row |= {"difference": apart.mean, "difference_ci95": apart.ci95, "tasks": apart.n_tasks}
    return row


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
        "iterations": _iterations(entry),
        "protocol": entry.first.summary.evaluation,
        "code": entry.code,
        "device": entry.first.summary.device,
        "folders": " ".join(str(run.folder) for run in entry.runs),
        "command": entry.first.summary.command,
    }


def _iterations(entry: Entry) -> int | str | None:
    """One number, or one for each seed if they differ; None if any is not recorded."""
    done = [run.iterations for run in entry.runs]
    if None in done or len(set(done)) == 1:
        return None if None in done else done[0]
    return " ".join(map(str, done))
