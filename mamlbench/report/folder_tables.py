"""Tables of arbitrary runs, one for each dataset, setting and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta

from mamlbench import metrics
from mamlbench.errors import UserError
from mamlbench.report.entries import Entry, data_words, entries_of_folder, labels
from mamlbench.report.paired import Pairing, pair_up, rank, why_not
from mamlbench.report.results import Result, result, score_text, seeds_text
from mamlbench.report.runs import Run
from mamlbench.report.sheets import Marked, Notes, Sheet
from mamlbench.words import number_of


@dataclass(frozen=True)
class FolderTable:
    """All results on one dataset in one setting.

    Attributes:
        dataset: its config's name.
        setting: such as `5way1shot`.
        metric: the runs' main metric.
        entries: groups of seeds, best first.
        labels: the entries' names.
        results: the entries' results; None if a run lacks the metric.
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
        """The entries' protocols in words, each once."""
        return list(dict.fromkeys(e.first.summary.evaluation for e in self.entries))

    def pairing(self) -> Pairing:
        """The paired differences of its results."""
        names, runs = map(Marked, self.labels), (entry.runs for entry in self.entries)
        return pair_up([*zip(names, runs, strict=True)], self.metric)

    def sheets(self) -> list[Sheet]:
        """The results, and the paired differences of those tested on the same tasks."""
        notes, name, protocols = Notes(), metrics.label(self.metric), self.protocols
        codes = {entry.code for entry in self.entries}
        rows: list[list[str | Marked]] = [
            [
                Marked(label, tuple(map(notes.mark, self._remarks(entry, protocols, codes)))),
                score_text(self.metric, found),
                seeds_text(self.metric, found),
                entry.iterations,
                training_time(entry),
            ]
            for entry, label, found in zip(self.entries, self.labels, self.results, strict=True)
        ]
        columns = ("", f"{name} (± 95% over tasks)", "seeds", "iterations", "training time")
        common = [f"protocol: {protocols[0]}"] if len(protocols) == 1 else []
        pairs = self.pairing()
        remarks = [*common, *pairs.lines(explained=False)]
        paired = pairs.sheet(f"{self.title}, {name}")
        listed = Sheet(self.title, columns, rows, notes.texts, remarks)
        return [listed] if paired is None else [listed, paired]

    def _remarks(self, entry: Entry, protocols: Sequence[str], codes: Set[str]) -> Iterator[str]:
        """Footnotes on one result: mainly what not all results have in common."""
        if len(protocols) > 1:
            yield f"protocol: {entry.first.summary.evaluation}"
        if len(codes) > 1 or not entry.has_one_code:
            yield entry.code
        if of_data := data_words(entry, self.entries):
            yield of_data
        if skipped := sum(run.summary.train.skipped for run in entry.runs):
            yield f"{number_of(skipped, 'outer step')} skipped"
        if apart := why_not(entry.first, self.entries[0].first):
            yield f"its test tasks differ from the best's: {apart}"


def folder_tables(runs: Sequence[Run], strict: bool = False) -> list[FolderTable]:
    """Group runs into tables by dataset, setting and metric.

    Args:
        runs: finished runs.
        strict: refuse a table with results of different protocols.

    Raises:
        UserError: `strict` and there is such a table.
    """
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        of = run.summary
        groups.setdefault((of.dataset, of.setting, of.metric), []).append(run)
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


def training_time(entry: Entry) -> str:
    """Training time of all seeds together; a dash if a checkpoint was only tested."""
    seconds = sum(run.summary.train.seconds for run in entry.runs)
    return str(timedelta(seconds=round(seconds))) if seconds else "–"
