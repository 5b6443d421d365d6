"""A paper's table beside our runs: published, ours, difference, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mamlbench import metrics
from mamlbench.config.settings import option_text
from mamlbench.errors import UserError
from mamlbench.report.entries import Entry, data_words, entries_of_cell
from mamlbench.report.matching import Match, setting_of_cell
from mamlbench.report.results import Result, Verdict, result, score_text, seeds_text, verdict
from mamlbench.report.runs import FLOAT32
from mamlbench.report.sheets import Sheet
from mamlbench.tables import KINDS, Cell, Table
from mamlbench.words import number_of


@dataclass
class Notes:
    """Footnotes, each text once."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The mark of a footnote, as `[1]`."""
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"

    def lines(self) -> list[str]:
        """`[1] text`, one for each."""
        return [f"[{number}] {text}" for number, text in enumerate(self.texts, 1)]


@dataclass(frozen=True)
class Line:
    """A cell and one result for it.

    Attributes:
        cell: the paper's.
        entry: our runs; None where there are none.
        ours: what they give; None without runs, or where they lack the metric.
        verdict: what it says.
        marks: of its footnotes; first those of the published value, then those of ours.
    """

    cell: Cell
    entry: Entry | None
    ours: Result | None
    verdict: Verdict
    marks: tuple[str, str] = ("", "")

    @property
    def difference(self) -> float | None:
        """Ours less published, in the unit that is shown."""
        if self.ours is None or not self.ours.is_finite or self.cell.published is None:
            return None
        return self.ours.mean - self.cell.published


@dataclass(frozen=True)
class PaperTable:
    """A table with our results.

    Attributes:
        table: the paper's.
        lines: of each cell one, or one for each of its results.
        notes: footnotes, then remarks on the whole table.
    """

    table: Table
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def published_kind(self) -> str | None:
        """What every printed ± is, in words; None where they differ or there are none."""
        kinds = {line.cell.interval_kind for line in self.lines if line.cell.interval is not None}
        return KINDS[str(kinds.pop())] if len(kinds) == 1 else None


def paper_table(
    table: Table, matches: Mapping[int, Sequence[Match]], strict: bool = False
) -> PaperTable:
    """Put the runs beside the published values.

    Args:
        table: the paper's.
        matches: the runs of each cell, by its `id`.
        strict: refuse runs that were tested otherwise than the table asks for.

    Raises:
        UserError: `strict`, and there are such runs.
    """
    shown = {id(cell): entries_of_cell(matches.get(id(cell), [])) for cell in table.cells}
    if strict:
        _require_own_protocol(table, shown)
    notes = Notes()
    words = {e.first.summary.evaluation for entries in shown.values() for e in entries}
    everything = [entry for entries in shown.values() for entry in entries]
    lines = []
    for cell in table.cells:
        of_published = "" if cell.verified else notes.mark("published: not verified")
        of_published += notes.mark(cell.note) if cell.note else ""
        entries = shown[id(cell)]
        if not entries:
            word = "published only" if cell.run is None else "not run"
            lines.append(Line(cell, None, None, Verdict(word), (of_published, "")))
        for entry in entries:
            of_ours = _marks(entry, entries, words, notes)
            of_data = data_words(entry, everything)
            of_ours += notes.mark(of_data) if of_data else ""
            lines.append(_line(cell, entry, (of_published, of_ours)))
    common = [f"protocol: {next(iter(words))}"] if len(words) == 1 else []
    common += _left_out(table, matches) + _shorter(table, matches, everything)
    return PaperTable(table, tuple(lines), (*notes.lines(), *common, *table.footnotes))


def _left_out(table: Table, matches: Mapping[int, Sequence[Match]]) -> list[str]:
    """Of runs that were tested otherwise and stand behind one of the cell's own protocol."""
    found = {}
    for cell in table.cells:
        of_cell = matches.get(id(cell), [])
        if all(m.otherwise_tested for m in of_cell):
            continue
        for match in of_cell:
            if match.otherwise_tested:
                apart = _apart(match.otherwise_tested)
                found[match.run.folder] = f"not shown: {match.run.folder}, tested with {apart}"
    return list(found.values())


def _shorter(
    table: Table, matches: Mapping[int, Sequence[Match]], shown: Iterable[Entry]
) -> list[str]:
    """Of shortened runs that stand behind longer ones: where the first is, and how many."""
    seen = {run.folder for entry in shown for run in entry.runs}
    every = [m for cell in table.cells for m in matches.get(id(cell), [])]
    folders = list(
        dict.fromkeys(m.run.folder for m in every if m.shortened and m.run.folder not in seen)
    )
    if not folders:
        return []
    more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
    return [f"not shown, as there are longer runs: {folders[0]}{more}"]


def _apart(otherwise_tested: Mapping[str, tuple[Any, Any]]) -> str:
    parts = [
        f"{k}={option_text(b)} (the paper: {option_text(a)})"
        for k, (a, b) in otherwise_tested.items()
    ]
    return ", ".join(parts)


def tally(lines: Iterable[Line]) -> dict[str, int]:
    """How many lines have which verdict; those with none of them are left out."""
    verdicts = [line.verdict for line in lines]
    words, tones = Counter(v.word for v in verdicts), Counter(v.tone for v in verdicts)
    counts = {
        "within": words["within"],
        "better than published": tones["better"],
        "worse than published": tones["worse"],
        "unclear": words["unclear"],
        "shortened": words["shortened"],
        "not run": words["not run"],
    }
    return {word: count for word, count in counts.items() if count}


def _line(cell: Cell, entry: Entry, marks: tuple[str, str]) -> Line:
    ours = result(entry.runs, cell.metric, cell.step)
    if ours is None:
        return Line(cell, entry, None, Verdict("not run", f"{cell.metric} not measured"), marks)
    against = cell.published, cell.interval, cell.interval_kind
    judged = verdict(ours, cell.metric, *against, entry.shortened)
    return Line(cell, entry, ours, judged, marks)


def _marks(entry: Entry, entries: Sequence[Entry], words: set[str], notes: Notes) -> str:
    found = ""
    if len(words) > 1:
        found += notes.mark(f"protocol: {entry.first.summary.evaluation}")
    if entry.otherwise_tested:
        found += notes.mark(f"tested with {_apart(entry.otherwise_tested)}")
    if len(entries) > 1 or not entry.has_one_code:
        found += notes.mark(entry.code)
    precision = entry.first.options["hardware.precision"]
    if precision != FLOAT32:
        found += notes.mark(f"computed in {precision}")
    begun_from = entry.first.options["warm_start"]
    if any(other.first.options["warm_start"] != begun_from for other in entries):
        found += notes.mark(f"begun from {begun_from}")
    if len({other.first.mujoco for other in entries}) > 1:
        found += notes.mark(f"MuJoCo {entry.first.mujoco}")
    skipped = sum(run.summary.train.skipped for run in entry.runs)
    if skipped:
        found += notes.mark(f"{number_of(skipped, 'outer step')} skipped")
    diverged = sum(run.summary.diverged_tasks for run in entry.runs)
    if diverged:
        found += notes.mark(f"{number_of(diverged, 'test task')} diverged")
    return found


def _require_own_protocol(table: Table, shown: Mapping[int, Sequence[Entry]]) -> None:
    for cell in table.cells:
        for entry in shown[id(cell)]:
            if entry.otherwise_tested:
                name, (asked, found) = next(iter(entry.otherwise_tested.items()))
                raise UserError(
                    f"{table.name}: {cell.row}, {cell.column}: {entry.first.folder} was tested "
                    f"with {name}={option_text(found)}; accepted with --strict is "
                    f"{option_text(asked)}"
                )


def sheet(found: PaperTable) -> Sheet:
    """The table as texts."""
    kind = found.published_kind
    columns = [
        *("", "", f"published (± {kind})" if kind else "published"),
        *("ours (± 95% over tasks)", "difference", "seeds", "iterations", "verdict"),
    ]
    rows = []
    for line in found.lines:
        published = (published_text(line.cell, kind is None) or "–") + line.marks[0]
        ours = score_text(line.cell.metric, line.ours) + (
            "" if line.ours is None else line.marks[1]
        )
        apart = difference_text(line)
        cells = [line.cell.row, line.cell.column, published, ours, apart]
        seeds = seeds_text(line.cell.metric, line.ours)
        rows.append([*cells, seeds, iterations_text(line), verdict_text(line.verdict)])
    return Sheet(f"{found.table.title} ({found.table.paper})", columns, rows, found.notes)


def published_text(cell: Cell, with_kind: bool) -> str:
    """As printed, with the kind of its ± where `with_kind`."""
    text = cell.published_text.replace("-", "−")
    if cell.interval is None or not with_kind:
        return text
    return f"{text} ({KINDS[str(cell.interval_kind)]})"


def difference_text(line: Line) -> str:
    """`+0.31`, with a true minus; a dash where there is none."""
    if line.difference is None:
        return "–"
    return metrics.number(line.cell.metric, line.difference, "+")


def iterations_text(line: Line) -> str:
    """`60,000`, `4,000 of 60,000` or `not recorded`; a dash where there are no runs."""
    if line.entry is None:
        return "–"
    fewest, asked = line.entry.fewest_iterations, asked_iterations(line)
    done = line.entry.iterations
    return done if fewest is None or asked is None or fewest >= asked else f"{done} of {asked:,}"


def asked_iterations(line: Line) -> int | None:
    """The outer steps of the cell's own setting."""
    if line.cell.run is None:
        return None
    found: Any = setting_of_cell(line.cell.run).options.get("training.iterations")
    return None if found is None else int(found)


def verdict_text(judged: Verdict) -> str:
    """The verdict's word, and why where that adds something."""
    if judged.word == "published only":
        return "–"
    told = judged.word in ("within", "unclear", "not run", "shortened")
    told = told or judged.why == "intervals overlap"
    return f"{judged.word} ({judged.why})" if judged.why and told else judged.word
