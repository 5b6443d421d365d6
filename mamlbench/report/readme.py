"""The part of a README with our measured results, generated from runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from mamlbench.config.overrides import command_line
from mamlbench.errors import UserError
from mamlbench.files import write_atomically
from mamlbench.report.entries import Entry
from mamlbench.report.paper_tables import Line, PaperTable, tally
from mamlbench.report.printed_numbers import coverage, printed_once
from mamlbench.report.report import Report
from mamlbench.report.results import result, score_text, seeds_text
from mamlbench.report.sheets import Notes, numbered
from mamlbench.tables import Table
from mamlbench.words import number_of

BEGIN, END = "<!-- made by mamlbench-report: begin -->", "<!-- made by mamlbench-report: end -->"

_PAPERS = (
    *("table", "row", "column", "published", "ours (± 95% over tasks)", "difference"),
    *("seeds", "iterations", "protocol", "device", "verdict"),
)
_OTHERS = ("run", "result (± 95% over tasks)", "seeds", "iterations", "protocol", "device")
_OF_NO_INTEREST = re.compile(
    r"(?:name|outputs|restart|seed|logger[.\w]*|hardware(?!\.precision)[.\w]*)="
)


def rewrite(path: Path, found: Report) -> None:
    """Put the results between the two marks of a file.

    Raises:
        UserError: the file cannot be read, lacks the marks, or is not writable.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--readme {path}: cannot be read: {why}") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"--readme {path}: accepted is a file with the lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    write_atomically(path, before + block(found) + rest.split(END)[1])


def block(found: Report) -> str:
    """The generated part, including its marks."""
    notes = Notes()
    published = list(printed_once(found.papers))
    others = [_other(entry, metric) for entry, metric in _unpublished(found)]
    parts = [BEGIN]
    if published:
        rows = [_row(paper, line, line.entry, notes) for paper, line in published if line.entry]
        parts += _covered(coverage(found.papers, found.known))
        marked = "\n".join(f"{line}  " for line in numbered(notes.texts)).rstrip()
        table = _compact(_PAPERS, rows)
        parts += _folded("Each measured number", [table, *([marked] * bool(marked))])
    if others:
        summary = f"{number_of(len(others), 'more result')}, for settings without a printed number"
        parts += _folded(summary, [_compact(_OTHERS, others)])
    return "\n\n".join([*parts, END])


def _covered(tables: Sequence[tuple[Table, Sequence[Line]]]) -> list[str]:
    """How many numbers are measured: one line for all, then a table by paper table."""
    total = tally(line for _, lines in tables for line in lines)
    printed, left = sum(total.values()), total.get("not run", 0)
    told = ", ".join(f"{count} {word}" for word, count in total.items() if word != "not run")
    rows = []
    for table, lines in tables:
        counts = tally(lines)
        by_word = (str(counts.get(word, "–")) for word in total)
        rows.append([_linked(table), f"`{table.name}`", *by_word])
    unchecked = sum(not line.cell.verified for _, lines in tables for line in lines)
    of_memory = f" {unchecked} were not checked against a copy or quotation of their paper." * bool(
        unchecked
    )
    return [
        f"{printed - left} of {printed} published numbers are measured: {told}.{of_memory}",
        _compact(("table or figure", "`+table=`", *total), rows),
    ]


def _linked(table: Table) -> str:
    """The table's title, as a link if its paper is on arXiv."""
    number = re.search(r"\d{4}\.\d{5}", table.paper)
    return f"[{table.title}](https://arxiv.org/abs/{number[0]})" if number else table.title


def _folded(summary: str, parts: Sequence[str]) -> list[str]:
    return [f"<details>\n<summary>{summary}</summary>", *parts, "</details>"]


def _compact(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without padding, so that a change leaves the other lines as they are."""
    rule = ["---", *["--:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def _row(paper: PaperTable, line: Line, entry: Entry, notes: Notes) -> list[str]:
    return [
        _linked(paper.table),
        line.cell.row,
        line.cell.column,
        line.published_text(with_kind=True) + _marks(line, 0, paper, notes),
        score_text(line.cell.metric, line.ours) + _marks(line, 1, paper, notes),
        line.difference_text,
        seeds_text(line.cell.metric, line.ours),
        line.iterations_text,
        *_how(entry),
        line.verdict.text,
    ]


def _marks(line: Line, side: int, paper: PaperTable, notes: Notes) -> str:
    """A line's footnote marks, renumbered for the whole part; protocols have a column instead."""
    texts = (paper.footnotes[mark - 1] for mark in line.marks[side])
    kept = (text for text in texts if not text.startswith("protocol: "))
    return "".join(f" [{notes.mark(text)}]" for text in kept)


def _unpublished(found: Report) -> Iterator[tuple[Entry, str]]:
    known = {
        run.folder
        for paper in found.papers
        for line in paper.lines
        if line.entry is not None and line.cell.published is not None
        for run in line.entry.runs
    }
    for table in found.folders:
        for entry in table.entries:
            if entry.first.folder not in known:
                yield entry, table.metric


def _other(entry: Entry, metric: str) -> list[str]:
    found = result(entry.runs, metric)
    score = score_text(metric, found)
    diverged = sum(run.summary.diverged_tasks for run in entry.runs)
    told = f" ({number_of(diverged, 'test task')} diverged)" if diverged else ""
    return [
        f"`{_command(entry.first.summary.command)}`",
        f"{metric} {score}{told}",
        seeds_text(metric, found),
        entry.iterations,
        *_how(entry),
    ]


def _command(written: str) -> str:
    """The command without overrides that change no result; unchanged if it cannot be parsed."""
    try:
        _, *overrides = shlex.split(written)
    except ValueError:
        return written
    return command_line(word for word in overrides if not _OF_NO_INTEREST.match(word))


def _how(entry: Entry) -> list[str]:
    run = entry.first
    name = run.config["evaluation"].get("name", "")
    estimate = run.estimate(run.summary.metric)
    tasks = "" if estimate is None else f", {estimate.n_tasks:,} tasks"
    return [f"`{name}`{tasks}", run.summary.device]
