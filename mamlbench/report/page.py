"""The whole report as one self-contained HTML page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from mamlbench import metrics
from mamlbench.figures import style
from mamlbench.files import write_atomically
from mamlbench.report.curves import SIZE, Drawing, of_folder, paper_figure
from mamlbench.report.entries import Entry
from mamlbench.report.folder_tables import FolderTable, training_time
from mamlbench.report.paired import Pairing, difference_text
from mamlbench.report.paper_tables import Line, PaperTable, tally
from mamlbench.report.printed_numbers import coverage
from mamlbench.report.report import Report
from mamlbench.report.results import OVERLAP, Verdict, score_text, seeds_text
from mamlbench.report.runs import Run
from mamlbench.report.sheets import Marked
from mamlbench.tables import KINDS
from mamlbench.words import number_of

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_DRAWN = 25
"""How many folder tables get figures; more would make the page slow to open."""

_TONES = {
    "within": "good",
    "better than published": "better",
    "worse than published": "worse",
}


def write_page(found: Report, out: Path) -> None:
    """Write a report as an HTML file.

    Raises:
        UserError: `out` is not writable.
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
    folders = [_folder(table, details, n < _DRAWN) for n, table in enumerate(found.folders)]
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
    """Counts of cells by verdict; a number that two papers print counts once, as in a README."""
    tables = {paper.table.name: paper.table for paper in found.papers}.values()
    counts = tally(line for _, lines in coverage(found.papers, tables) for line in lines)
    counts["runs"] = len(found.runs)
    return [{"word": w, "count": c, "tone": _TONES.get(w, "")} for w, c in counts.items()]


class _Details:
    """The details of each entry on the page, collected once per entry."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self._anchors: dict[tuple[Path, ...], str] = {}

    def anchor(self, entry: Entry) -> str:
        """The page anchor of the entry's command and config."""
        key = tuple(run.folder for run in entry.runs)
        if key not in self._anchors:
            self._anchors[key] = f"run-{len(self._anchors) + 1}"
            self.shown.append(_details(entry, self._anchors[key]))
        return self._anchors[key]


def _data(run: Run) -> str:
    sha256 = run.summary.data_sha256
    if sha256 is not None:
        return f"sha256 {sha256[:16]}…"
    return "not hashed" if "dataset.root" in run.options else "generated"


def _details(entry: Entry, anchor: str) -> dict[str, Any]:
    run = entry.first
    summary, metric = run.summary, run.summary.metric
    estimate = run.estimate(metric)
    seeds = ", ".join(str(other.seed) for other in entry.runs)
    facts = [
        ("protocol", summary.evaluation),
        ("iterations", entry.iterations),
        ("seeds", seeds),
        ("training time", training_time(entry)),
        ("device", summary.device),
        ("code", entry.code),
        ("data", _data(run)),
        ("versions", ", ".join(f"{name} {version}" for name, version in summary.versions.items())),
        ("folders", ", ".join(other.folder.as_posix() for other in entry.runs[:10])),
    ]
    score = "" if estimate is None else metrics.shown(metric, estimate.mean, estimate.ci95)
    return {
        "anchor": anchor,
        "title": f"{summary.algorithm} · {summary.dataset} {summary.setting} · {summary.hash}",
        "score": f"{metrics.label(metric)}: {score} (seed {run.seed})",
        "facts": facts,
        "command": summary.command,
        "config": yaml.dump(dict(run.config), Dumper=_DUMPER, sort_keys=False),
    }


def _paper(paper: PaperTable, details: _Details) -> dict[str, Any]:
    table, kind = paper.table, paper.published_kind
    names = ("row", "column", "published", "ours", "difference", "seeds", "iterations", "verdict")
    numeric = {"published", "ours", "difference", "iterations"}
    widest = _widest(paper.lines)
    is_figure = table.kind == "figure"
    drawing = paper_figure(paper) if is_figure else None
    pairs = paper.pairing()
    anchors = {
        (line.cell.column, name): details.anchor(line.entry)
        for line in paper.lines
        if line.entry is not None
        for name in (Marked(line.cell.row), Marked(line.cell.row, line.marks[1]))
    }
    return {
        "footnotes": paper.footnotes,
        "remarks": [*paper.remarks, *pairs.lines(explained=True)],
        "anchor": _anchor("table", table.name),
        "title": table.title,
        "paper": table.paper,
        "place": table.place,
        "metric": metrics.label(table.metric),
        "kind": kind,
        "columns": [{"name": name, "number": name in numeric} for name in names],
        "lines": [_line(line, kind is None, widest, details) for line in paper.lines],
        "figure": None if drawing is None else _drawn(drawing),
        "folded": _folded(paper.lines) if is_figure else None,
        "paired": _paired(pairs, table.title, anchors),
    }


def _folded(lines: Sequence[Line]) -> str:
    """A one-line summary of the numbers below a figure."""
    counts = tally(lines)
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    points = f"{number_of(len(lines), 'point')} as numbers"
    return f"{points}: {told}" if told else points


def _line(line: Line, with_kind: bool, widest: dict[str, float], details: _Details) -> dict:
    cell, ours = line.cell, line.ours
    kind = KINDS[str(cell.interval_kind)] if with_kind and cell.interval is not None else ""
    return {
        "row": cell.row,
        "column": cell.column,
        "published": line.published_text(with_kind=False) or "–",
        "published_value": _key(cell.published),
        "published_marks": line.marks[0],
        "kind": kind,
        "ours": score_text(cell.metric, ours),
        "ours_value": _key(None if ours is None else ours.mean),
        "ours_marks": line.marks[1],
        "anchor": None if line.entry is None else details.anchor(line.entry),
        "difference": line.difference_text,
        "difference_value": _key(line.difference),
        "plot": _plot(line, widest),
        "seeds": seeds_text(cell.metric, ours),
        "iterations": line.iterations_text,
        "iterations_value": _key(None if line.entry is None else line.entry.fewest_iterations),
        "verdict": line.verdict.word,
        "tone": "published-only" if line.verdict.word == "published only" else line.verdict.tone,
        "why": _why(line.verdict),
    }


def _why(found: Verdict) -> str:
    """The reason or criterion of a verdict, as it reads after the verdict's word."""
    beyond = found.word in ("above", "below") and found.why != OVERLAP
    return f"by more than {found.why}" if beyond else found.why


def _widest(lines: Sequence[Line]) -> dict[str, float]:
    """For each metric, how far from zero its differences and intervals reach."""
    found: dict[str, float] = {}
    for line in lines:
        if line.difference is not None and line.ours is not None:
            reach = abs(line.difference) + (line.ours.ci95 or 0.0)
            reach = max(reach, float(line.cell.interval or 0.0))
            found[line.cell.metric] = max(found.get(line.cell.metric, 0.0), reach)
    return found


def _plot(line: Line, widest: dict[str, float]) -> dict[str, float] | None:
    """Positions in a drawing 100 units wide, with zero at 50."""
    if line.difference is None or line.ours is None or not widest[line.cell.metric]:
        return None
    unit = 48 / widest[line.cell.metric]
    return {
        "at": round(50 + unit * line.difference, 1),
        "half": round(unit * (line.ours.ci95 or 0.0), 1),
        "band": round(unit * float(line.cell.interval or 0.0), 1),
    }


def _folder(table: FolderTable, details: _Details, drawn: bool) -> dict[str, Any]:
    listed, *_ = table.sheets()
    named = zip(map(Marked, table.labels), table.entries, strict=True)
    anchors = {("", name): details.anchor(entry) for name, entry in named}
    lines = []
    rows = zip(table.entries, table.results, listed.rows, strict=True)
    for entry, found, row in rows:
        lines.append(
            {
                "name": row[0],
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
    names = ("learner", metrics.label(table.metric), "seeds", "iterations", "training time")
    return {
        "footnotes": listed.footnotes,
        "remarks": listed.remarks,
        "anchor": _anchor("runs", table.title, table.metric),
        "title": table.title,
        "columns": [{"name": name, "number": n in (1, 3, 4)} for n, name in enumerate(names)],
        "lines": lines,
        "folded": None,
        "paired": _paired(table.pairing(), table.title, anchors),
        "figures": list(map(_drawn, of_folder(table))) if drawn else [],
    }


def _paired(
    found: Pairing, title: str, anchors: Mapping[tuple[str, Marked], str]
) -> dict[str, Any] | None:
    """The differences as texts and sort keys; `anchors` are by column and name."""
    sheet = found.sheet(title)
    if sheet is None:
        return None
    lines = [
        {
            "name": pair.name,
            "column": pair.column,
            "difference": difference_text(pair.metric, pair.difference),
            "difference_value": _key(pair.difference.mean),
            "anchor": anchors[pair.column, pair.name],
            "tasks": pair.difference.n_tasks,
            "seeds": pair.seeds,
            "other": pair.other,
            "other_anchor": anchors[pair.column, pair.other],
        }
        for pair in found.pairs
    ]
    in_columns = any(pair.column for pair in found.pairs)
    names = ("learner", *["column"] * in_columns, *sheet.columns[1 + in_columns :])
    numeric = {1 + in_columns, 2 + in_columns}
    return {
        "title": sheet.title,
        "in_columns": in_columns,
        "columns": [{"name": name, "number": n in numeric} for n, name in enumerate(names)],
        "lines": lines,
        "remarks": sheet.remarks,
    }


def _drawn(drawing: Drawing) -> dict[str, str]:
    text = {"title": drawing.title, "caption": drawing.caption}
    return {**text, "svg": style.svg(*SIZE, drawing.draw)}


def _anchor(*words: str) -> str:
    return re.sub(r"\W+", "-", "-".join(words)).strip("-").lower()


def _key(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))
