"""A paper's table beside our runs: published, ours, difference, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mamlbench import metrics
from mamlbench.config.settings import option_text
from mamlbench.errors import UserError
from mamlbench.report.entries import Entry, data_words, entries_of_cell
from mamlbench.report.matching import Match, setting_of_cell
from mamlbench.report.paired import Left, Pair, Pairing, pair_up, rank
from mamlbench.report.results import Result, Verdict, result, score_text, seeds_text, verdict
from mamlbench.report.runs import Run
from mamlbench.report.sheets import Marked, Notes, Sheet
from mamlbench.tables import KINDS, Cell, Table
from mamlbench.words import number_of


@dataclass(frozen=True)
class Line:
    """A cell and one result for it.

    Attributes:
        cell: the paper's.
        entry: our runs; None if there are none.
        ours: their result; None without runs, or if a run lacks the metric.
        verdict: how our result compares with the published value.
        marks: footnote numbers, first of the published value, then of ours.
    """

    cell: Cell
    entry: Entry | None
    ours: Result | None
    verdict: Verdict
    marks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def difference(self) -> float | None:
        """Ours minus published, in display units (fractions in percent)."""
        if self.ours is None or not self.ours.is_finite or self.cell.published is None:
            return None
        return self.ours.mean - self.cell.published

    @property
    def difference_text(self) -> str:
        """`+0.31`, with a typographic minus sign; a dash if there is no difference."""
        if self.difference is None:
            return "–"
        return metrics.number(self.cell.metric, self.difference, "+")

    @property
    def asked_iterations(self) -> int | None:
        """The outer steps that the cell's setting asks for."""
        if self.cell.run is None:
            return None
        found: Any = setting_of_cell(self.cell.run).options.get("training.iterations")
        return None if found is None else int(found)

    @property
    def iterations_text(self) -> str:
        """`60,000`, `4,000 of 60,000` or `not recorded`; a dash without runs."""
        if self.entry is None:
            return "–"
        done, fewest = self.entry.iterations, self.entry.fewest_iterations
        asked = self.asked_iterations
        return (
            done if fewest is None or asked is None or fewest >= asked else f"{done} of {asked:,}"
        )

    def published_text(self, with_kind: bool) -> str:
        """The published value as printed; `with_kind` adds the kind of its ±."""
        text = self.cell.published_text.replace("-", "−")
        if self.cell.interval is None or not with_kind:
            return text
        return f"{text} ({KINDS[str(self.cell.interval_kind)]})"


@dataclass(frozen=True)
class PaperTable:
    """A table with our results.

    Attributes:
        table: the paper's.
        lines: one for each result of a cell, or one for a cell without results.
        footnotes: texts to which the lines' marks refer.
        remarks: on the whole table.
    """

    table: Table
    lines: tuple[Line, ...]
    footnotes: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def published_kind(self) -> str | None:
        """The kind of every printed ±, in words; None if kinds differ or there is no ±."""
        kinds = {line.cell.interval_kind for line in self.lines if line.cell.interval is not None}
        return KINDS[str(kinds.pop())] if len(kinds) == 1 else None

    def sheet(self) -> Sheet:
        """The table as texts."""
        kind = self.published_kind
        columns = [
            *("", "", f"published (± {kind})" if kind else "published"),
            *("ours (± 95% over tasks)", "difference", "seeds", "iterations", "verdict"),
        ]
        rows: list[list[str | Marked]] = []
        for line in self.lines:
            cell, ours = line.cell, line.ours
            rows.append(
                [
                    cell.row,
                    cell.column,
                    Marked(line.published_text(kind is None) or "–", line.marks[0]),
                    Marked(score_text(cell.metric, ours), () if ours is None else line.marks[1]),
                    line.difference_text,
                    seeds_text(cell.metric, ours),
                    line.iterations_text,
                    line.verdict.text,
                ]
            )
        title = f"{self.table.title} ({self.table.paper})"
        return Sheet(title, columns, rows, self.footnotes, self.remarks)

    def sheets(self) -> list[Sheet]:
        """The table as texts, and the paired differences of its results."""
        pairs, listed = self.pairing(), self.sheet()
        listed = replace(listed, remarks=[*self.remarks, *pairs.lines(explained=True)])
        paired = pairs.sheet(self.table.title)
        return [listed] if paired is None else [listed, paired]

    def pairing(self) -> Pairing:
        """The paired differences of the measured rows in each column."""
        columns: dict[tuple[str, str, int | None], list[Line]] = {}
        for line in self.lines:
            if line.ours is not None:
                cell = line.cell
                columns.setdefault((cell.column, cell.metric, cell.step), []).append(line)
        pairs: list[Pair] = []
        left: dict[Left, list[str]] = {}
        for (column, metric, step), lines in columns.items():
            found = pair_up(_ranked(lines), metric, step, column)
            pairs += found.pairs
            for alone in found.left:
                left.setdefault(alone, []).append(column)
        named = (replace(of, name=f"{of.name} ({', '.join(at)})") for of, at in left.items())
        return Pairing(tuple(pairs), tuple(named))


def _ranked(lines: Sequence[Line]) -> list[tuple[Marked, tuple[Run, ...]]]:
    """Results best first, each once, named by row; with footnote marks if a row has several."""
    rows = Counter(line.cell.row for line in lines)
    found: dict[tuple[Path, ...], tuple[Marked, tuple[Run, ...]]] = {}
    for line in sorted(lines, key=lambda line: rank(line.ours)):
        if line.entry is not None:
            row = line.cell.row
            name = Marked(row, line.marks[1] if rows[row] > 1 else ())
            found.setdefault(tuple(run.folder for run in line.entry.runs), (name, line.entry.runs))
    return [*found.values()]


def paper_table(
    table: Table, matches: Mapping[Cell, Sequence[Match]], strict: bool = False
) -> PaperTable:
    """Put the runs beside the published values.

    Args:
        table: the paper's.
        matches: the runs of each cell.
        strict: refuse runs that were tested by another protocol than their cell's.

    Raises:
        UserError: `strict` and there are such runs.
    """
    shown = {cell: entries_of_cell(matches.get(cell, [])) for cell in table.cells}
    if strict:
        _require_own_protocol(table, shown)
    notes = Notes()
    words = {e.first.summary.evaluation for entries in shown.values() for e in entries}
    everything = [entry for entries in shown.values() for entry in entries]
    lines = []
    for cell in table.cells:
        said = ["published: not verified"] * (not cell.verified) + [cell.note] * bool(cell.note)
        of_published = tuple(notes.mark(text) for text in said if text)
        entries = shown[cell]
        if not entries:
            word = "published only" if cell.run is None else "not run"
            lines.append(Line(cell, None, None, Verdict(word), (of_published, ())))
        for entry in entries:
            of_ours = tuple(map(notes.mark, _remarks(entry, entries, words, everything)))
            lines.append(_line(cell, entry, (of_published, of_ours)))
    common = [f"protocol: {next(iter(words))}"] if len(words) == 1 else []
    common += _left_out(table, matches) + _shorter(table, matches, everything)
    return PaperTable(table, tuple(lines), tuple(notes.texts), (*common, *table.footnotes))


def _left_out(table: Table, matches: Mapping[Cell, Sequence[Match]]) -> list[str]:
    """Remarks on runs of other protocols, hidden because their cell has runs of its own."""
    found = {}
    for cell in table.cells:
        of_cell = matches.get(cell, [])
        if all(m.otherwise_tested for m in of_cell):
            continue
        for match in of_cell:
            if match.otherwise_tested:
                apart = _apart(match.otherwise_tested)
                found[match.run.folder] = f"not shown: {match.run.folder}, tested with {apart}"
    return list(found.values())


def _shorter(
    table: Table, matches: Mapping[Cell, Sequence[Match]], shown: Iterable[Entry]
) -> list[str]:
    """A remark on shortened runs hidden behind longer ones: the first, and how many more."""
    seen = {run.folder for entry in shown for run in entry.runs}
    every = [m for cell in table.cells for m in matches.get(cell, [])]
    folders = list(
        dict.fromkeys(m.run.folder for m in every if m.shortened and m.run.folder not in seen)
    )
    if not folders:
        return []
    more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
    return [f"not shown, because there are longer runs: {folders[0]}{more}"]


def _apart(otherwise_tested: Mapping[str, tuple[Any, Any]]) -> str:
    parts = [
        f"{k}={option_text(b)} (the paper: {option_text(a)})"
        for k, (a, b) in otherwise_tested.items()
    ]
    return ", ".join(parts)


def tally(lines: Iterable[Line]) -> dict[str, int]:
    """Count the lines by verdict, without verdicts that do not occur."""
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


def _line(cell: Cell, entry: Entry, marks: tuple[tuple[int, ...], tuple[int, ...]]) -> Line:
    ours = result(entry.runs, cell.metric, cell.step)
    if ours is None:
        return Line(cell, entry, None, Verdict("not run", f"{cell.metric} not measured"), marks)
    against = cell.published, cell.interval, cell.interval_kind
    judged = verdict(ours, cell.metric, *against, entry.shortened)
    return Line(cell, entry, ours, judged, marks)


def _remarks(
    entry: Entry, entries: Sequence[Entry], words: set[str], everything: Sequence[Entry]
) -> Iterator[str]:
    """Footnotes on a result of a cell.

    `entries` are the cell's; `words` are the protocols and `everything` all entries of its table.
    """
    if len(words) > 1:
        yield f"protocol: {entry.first.summary.evaluation}"
    if entry.otherwise_tested:
        yield f"tested with {_apart(entry.otherwise_tested)}"
    if len(entries) > 1 or not entry.has_one_code:
        yield entry.code
    precision = entry.first.options["hardware.precision"]
    if precision != "float32":
        yield f"computed in {precision}"
    begun_from = entry.first.options["warm_start"]
    if any(other.first.options["warm_start"] != begun_from for other in entries):
        yield f"started from {begun_from}"
    if len({other.first.mujoco for other in entries}) > 1:
        yield f"MuJoCo {entry.first.mujoco}"
    if skipped := sum(run.summary.train.skipped for run in entry.runs):
        yield f"{number_of(skipped, 'outer step')} skipped"
    if diverged := sum(run.summary.diverged_tasks for run in entry.runs):
        yield f"{number_of(diverged, 'test task')} diverged"
    if of_data := data_words(entry, everything):
        yield of_data


def _require_own_protocol(table: Table, shown: Mapping[Cell, Sequence[Entry]]) -> None:
    for cell in table.cells:
        for entry in shown[cell]:
            if entry.otherwise_tested:
                name, (asked, found) = next(iter(entry.otherwise_tested.items()))
                raise UserError(
                    f"{table.name}: {cell.row}, {cell.column}: {entry.first.folder} was tested "
                    f"with {name}={option_text(found)}; accepted with --strict is "
                    f"{option_text(asked)}"
                )
