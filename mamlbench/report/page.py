"""The whole report as one page that needs nothing but itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from mamlbench import metrics
from mamlbench.files import write_atomically
from mamlbench.report import style
from mamlbench.report.curves import SIZE, Drawing, of_folder, paper_figure
from mamlbench.report.entries import Entry
from mamlbench.report.folder_tables import FolderTable, sheets, training_time
from mamlbench.report.paper_tables import (
    Line,
    PaperTable,
    difference_text,
    iterations_text,
    published_text,
    tally,
)
from mamlbench.report.report import Report
from mamlbench.report.results import KINDS, score_text, seeds_text

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_FIGURES = 40
"""Figures that a page holds at most; more would make it slow to open."""

_TONES = {
    "within": "good",
    "better than published": "better",
    "worse than published": "worse",
}


def write_page(found: Report, out: Path) -> None:
    """Write a report as an HTML file.

    Raises:
        UserError: the place is not writable.
    """
    write_atomically(out, page(found))


def page(found: Report) -> str:
    """The report as HTML."""
    loader = PackageLoader("mamlbench.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(_content(found))


def _content(found: Report) -> dict[str, Any]:
    details = _Details()
    papers = [_paper(paper, details) for paper in found.papers]
    figures = [0]
    folders = [_folder(table, details, figures) for table in found.folders]
    title = papers[0]["title"] if len(papers) == 1 and not folders else "Published and measured"
    return {
        "title": title if papers else "Measured",
        "tiles": _tiles(found),
        "papers": papers,
        "folders": folders,
        "entries": details.shown,
        "skipped": found.skipped,
        "run_count": len(found.runs),
    }


def _tiles(found: Report) -> list[dict[str, Any]]:
    counts = tally(line for paper in found.papers for line in paper.lines)
    counts["runs"] = len(found.runs)
    return [{"word": w, "count": c, "tone": _TONES.get(w, "")} for w, c in counts.items()]


class _Details:
    """What the page says of each entry, once."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self._anchors: dict[tuple[Path, ...], str] = {}

    def anchor(self, entry: Entry) -> str:
        """Where on the page the entry's command and config are."""
        key = tuple(run.folder for run in entry.runs)
        if key not in self._anchors:
            self._anchors[key] = f"run-{len(self._anchors) + 1}"
            self.shown.append(_details(entry, self._anchors[key]))
        return self._anchors[key]


def _details(entry: Entry, anchor: str) -> dict[str, Any]:
    run = entry.first
    summary, estimate = run.summary, run.estimate(run.metric)
    seeds = ", ".join(str(other.seed) for other in entry.runs)
    facts = [
        ("protocol", summary.evaluation),
        ("iterations", entry.iterations),
        ("seeds", seeds),
        ("training time", training_time(entry)),
        ("device", summary.device),
        ("code", entry.code),
        ("data", f"sha256 {summary.data_sha256[:16]}…" if summary.data_sha256 else "generated"),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary.versions.items())),
        ("folders", ", ".join(other.folder.as_posix() for other in entry.runs[:10])),
    ]
    score = "" if estimate is None else metrics.shown(run.metric, estimate.mean, estimate.ci95)
    return {
        "anchor": anchor,
        "title": f"{run.algorithm} · {run.dataset} {run.setting} · {run.hash}",
        "score": f"{metrics.label(run.metric)}: {score} (seed {run.seed})",
        "facts": facts,
        "command": summary.command,
        "config": yaml.dump(dict(run.config), Dumper=_DUMPER, sort_keys=False),
    }


def _paper(paper: PaperTable, details: _Details) -> dict[str, Any]:
    table, kind = paper.table, paper.published_kind
    names = ("row", "column", "published", "ours", "difference", "seeds", "iterations", "verdict")
    numeric = {"published", "ours", "difference", "iterations"}
    widest = _widest(paper.lines)
    drawing = paper_figure(paper) if table.kind == "figure" else None
    return {
        **_notes(paper.notes),
        "anchor": _anchor("table", table.name),
        "title": table.title,
        "paper": table.paper,
        "place": table.place,
        "metric": metrics.label(table.metric),
        "kind": kind,
        "columns": [{"name": name, "number": name in numeric} for name in names],
        "lines": [_line(line, kind is None, widest, details) for line in paper.lines],
        "figure": None if drawing is None else _drawn(drawing),
    }


def _line(line: Line, with_kind: bool, widest: dict[str, float], details: _Details) -> dict:
    cell, ours = line.cell, line.ours
    kind = KINDS[str(cell.interval_kind)] if with_kind and cell.interval is not None else ""
    return {
        "row": cell.row,
        "column": cell.column,
        "published": published_text(cell, False) or "–",
        "published_value": _key(cell.published),
        "published_marks": _numbers(line.marks[0]),
        "kind": kind,
        "ours": score_text(cell.metric, ours),
        "ours_value": _key(None if ours is None else ours.mean),
        "ours_marks": _numbers(line.marks[1]),
        "anchor": None if line.entry is None else details.anchor(line.entry),
        "difference": difference_text(line),
        "difference_value": _key(line.difference),
        "plot": _plot(line, widest),
        "seeds": seeds_text(cell.metric, ours),
        "iterations": iterations_text(line),
        "iterations_value": _key(None if line.entry is None else line.entry.fewest_iterations),
        "verdict": line.verdict.word,
        "tone": "published-only" if line.verdict.word == "published only" else line.verdict.tone,
        "why": "" if line.verdict.word == "shortened" else line.verdict.why,
    }


def _widest(lines: Sequence[Line]) -> dict[str, float]:
    """How far from zero the differences and intervals of each metric reach."""
    found: dict[str, float] = {}
    for line in lines:
        if line.difference is not None and line.ours is not None:
            reach = abs(line.difference) + (line.ours.ci95 or 0.0)
            reach = max(reach, float(line.cell.interval or 0.0))
            found[line.cell.metric] = max(found.get(line.cell.metric, 0.0), reach)
    return found


def _plot(line: Line, widest: dict[str, float]) -> dict[str, float] | None:
    """Places in a drawing of 100 units: zero is at 50."""
    if line.difference is None or line.ours is None or not widest[line.cell.metric]:
        return None
    unit = 48 / widest[line.cell.metric]
    return {
        "at": round(50 + unit * line.difference, 1),
        "half": round(unit * (line.ours.ci95 or 0.0), 1),
        "band": round(unit * float(line.cell.interval or 0.0), 1),
    }


def _folder(table: FolderTable, details: _Details, figures: list[int]) -> dict[str, Any]:
    listed, *more = sheets(table)
    lines = []
    rows = zip(table.entries, table.results, listed.rows, strict=True)
    for entry, found, row in rows:
        label = re.sub(r"(\[\d+\])+$", "", row[0])
        lines.append(
            {
                "label": label,
                "marks": _numbers(row[0][len(label) :]),
                "ours": score_text(table.metric, found),
                "ours_value": _key(None if found is None else found.mean),
                "anchor": details.anchor(entry),
                "seeds": seeds_text(table.metric, found),
                "iterations": entry.iterations,
                "iterations_value": _key(entry.fewest_iterations),
                "time": training_time(entry),
                "seconds": sum(run.summary.train.seconds for run in entry.runs),
            }
        )
    drawn = [] if figures[0] >= _FIGURES else [_drawn(drawing) for drawing in of_folder(table)]
    figures[0] += len(drawn)
    names = ("learner", metrics.label(table.metric), "seeds", "iterations", "training time")
    return {
        **_notes(listed.notes),
        "anchor": _anchor("runs", table.title, table.metric),
        "title": table.title,
        "columns": [{"name": name, "number": n in (1, 3, 4)} for n, name in enumerate(names)],
        "lines": lines,
        "paired": _paired(more[0]) if more else None,
        "figures": drawn,
    }


def _paired(sheet: Any) -> dict[str, Any]:
    names = ["learner", *sheet.columns[1:]]
    columns = [{"name": name, "number": n > 0} for n, name in enumerate(names)]
    return {"title": sheet.title, "columns": columns, "rows": sheet.rows}


def _drawn(drawing: Drawing) -> dict[str, str]:
    text = {"title": drawing.title, "caption": drawing.caption}
    return {**text, "svg": style.svg(*SIZE, drawing.draw)}


def _notes(notes: Sequence[str]) -> dict[str, list[str]]:
    marked = [re.sub(r"^\[\d+\] ", "", note) for note in notes if re.match(r"\[\d+\] ", note)]
    return {"marked": marked, "remarks": [n for n in notes if not re.match(r"\[\d+\] ", n)]}


def _numbers(marks: str) -> list[str]:
    return re.findall(r"\d+", marks)


def _anchor(*words: str) -> str:
    return re.sub(r"\W+", "-", "-".join(words)).strip("-").lower()


def _key(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))
