"""Any runs, a table for each dataset and setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from mamlbench import metrics
from mamlbench.errors import UserError
from mamlbench.report.entries import Entry, data_words, entries_of_folder, labels
from mamlbench.report.paired import Pairing, pair_up, rank, why_not
from mamlbench.report.paper_tables import Notes
from mamlbench.report.results import Result, result, score_text, seeds_text
from mamlbench.report.runs import Run
from mamlbench.report.sheets import Sheet
from mamlbench.words import number_of


@dataclass(frozen=True)
class FolderTable:
    """All results on one dataset in one setting.

    Attributes:
        dataset: name of its config.
        setting: as in `5way1shot`.
        metric: by which they are read.
        entries: the settings of learners, best first.
        labels: their names.
        results: theirs; None where a run lacks the metric.
    """

    dataset: str
    setting: str
    metric: str
    entries: tuple[Entry, ...]
    labels: tuple[str, ...]
    results: tuple[Result | None, ...]

    @property
    def title(self) -> str:
        """Dataset and setting."""
        return f"{self.dataset} {self.setting}"

    @property
    def protocols(self) -> list[str]:
        """All protocols in it, in words."""
        return list(dict.fromkeys(e.first.summary.evaluation for e in self.entries))


def folder_tables(runs: Sequence[Run], strict: bool = False) -> list[FolderTable]:
    """The runs by dataset, setting and metric.

    Args:
        runs: finished runs.
        strict: refuse a table with results of different protocols.

    Raises:
        UserError: `strict`, and there is such a table.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.dataset, run.setting, run.metric), []).append(run)
    found = []
    for (dataset, setting, metric), group in sorted(groups.items(), key=lambda item: item[0]):
        entries = entries_of_folder(group)
        results = [result(entry.runs, metric) for entry in entries]
        rows = sorted(zip(entries, labels(entries), results, strict=True), key=lambda r: rank(r[2]))
        table = FolderTable(dataset, setting, metric, *map(tuple, zip(*rows, strict=True)))
        if strict and len(table.protocols) > 1:
            raise UserError(
                f"{table.title}: results of {len(table.protocols)} protocols in one table; "
                f"accepted with --strict is one: {'; '.join(table.protocols)}"
            )
        found.append(table)
    return found


def pairing(table: FolderTable) -> Pairing:
    """The paired differences of its results."""
    runs = (entry.runs for entry in table.entries)
    return pair_up([*zip(table.labels, runs, strict=True)], table.metric)


def sheets(table: FolderTable) -> list[Sheet]:
    """The results; and the paired differences of those that were tested on the same tasks."""
    notes, several = Notes(), len(table.protocols) > 1
    codes = {entry.code for entry in table.entries}
    rows = []
    for entry, label, found in zip(table.entries, table.labels, table.results, strict=True):
        marks = notes.mark(f"protocol: {entry.first.summary.evaluation}") if several else ""
        if len(codes) > 1 or not entry.has_one_code:
            marks += notes.mark(entry.code)
        of_data = data_words(entry, table.entries)
        marks += notes.mark(of_data) if of_data else ""
        skipped = sum(run.summary.train.skipped for run in entry.runs)
        marks += notes.mark(f"{number_of(skipped, 'outer step')} skipped") if skipped else ""
        apart = why_not(entry.first, table.entries[0].first)
        marks += notes.mark(f"other test tasks than the best's: {apart}") if apart else ""
        rows.append(
            [
                label + marks,
                score_text(table.metric, found),
                seeds_text(table.metric, found),
                entry.iterations,
                training_time(entry),
            ]
        )
    common = [] if several else [f"protocol: {table.protocols[0]}"]
    name = metrics.label(table.metric)
    columns = ("", f"{name} (± 95% over tasks)", "seeds", "iterations", "training time")
    pairs = pairing(table)
    listed = Sheet(
        table.title, columns, rows, [*notes.lines(), *common, *pairs.lines(explained=False)]
    )
    paired = pairs.sheet(f"{table.title}, {name}")
    return [listed] if paired is None else [listed, paired]


def training_time(entry: Entry) -> str:
    """Of all seeds together; a dash where a checkpoint was tested."""
    seconds = sum(run.summary.train.seconds for run in entry.runs)
    return str(timedelta(seconds=round(seconds))) if seconds else "–"
