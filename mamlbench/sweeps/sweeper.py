"""The sweeper for plain sweeps: shows finished runs and launches the others in one batch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from typing_extensions import override

from mamlbench.config.overrides import over
from mamlbench.errors import UserError
from mamlbench.sweeps.cells import Cell, CellReader
from mamlbench.words import number_of


class CellSweeper(BasicSweeper):
    """Hydra's basic sweeper over every combination of values, except that finished runs are shown.

    Args:
        params: values to sweep over, as in `hydra.sweeper.params`.
        jobs: overrides of runs that differ in several options at once, including all typed
            overrides that are not sweeps; each is combined with the typed sweeps. None: there is
            one, the typed overrides.
    """

    def __init__(
        self,
        params: dict[str, str] | None = None,
        jobs: Sequence[Sequence[str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.jobs = jobs

    @override
    def setup(self, **of_hydra: Any) -> None:
        super().setup(**of_hydra)
        # if the launcher has a reader, share it, so that no cell is read twice
        reader = getattr(self.launcher, "reader", None)
        self._reader = reader or CellReader(of_hydra["hydra_context"], of_hydra["config"])

    def split_arguments(  # type: ignore[override] # Hydra's is static, and called as a method
        self, overrides: list[Any], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """All unfinished runs as one batch; no batch if all are finished.

        There is only one batch, because Hydra tries all runs of a batch, even if some fail, but
        stops after such a batch.

        Raises:
            hydra.errors.HydraException: an override does not fit the config tree.
        """
        left = self._unfinished(self.runs(overrides))
        return [left] if left else []

    def runs(self, overrides: list[Any]) -> list[list[str]]:
        """The overrides of each run; `key=choice(value)` becomes `key=value` with its quotes.

        Hydra itself removes quotes from text, so that it cannot be parsed or becomes a number.
        """
        swept = [o for o in overrides if self.jobs is None or o.is_sweep_override()]
        [combinations] = BasicSweeper.split_arguments(swept, None)
        typed = dict(pair for override in swept for pair in _only_choice(override))
        runs = [[typed.get(text, text) for text in each] for each in combinations]
        if self.jobs is not None:
            runs = [over(job, combination) for combination in runs for job in self.jobs]
        if not runs:
            over_what = " ".join(str(o.input_line) for o in swept if o.is_sweep_override())
            raise UserError(f"{over_what}: makes no run; accepted are values for each key")
        return runs

    def _unfinished(self, batch: Sequence[Sequence[str]]) -> list[list[str]]:
        """Compose all runs, show the finished ones and return the others."""
        cells = [self._reader.read(overrides) for overrides in batch]
        shown: list[Cell] = []
        left: list[Cell] = []
        for cell in cells:
            (shown if cell.is_finished and _show(cell) else left).append(cell)
        if shown:
            runs = number_of(len(batch), "run")
            print(f"already finished: {len(shown)} of {runs}", file=sys.stderr)
            _tell_of_changed_code(shown)
        return [list(cell.overrides) for cell in left]

    @override
    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: `split_arguments` has already composed every run."""


def _only_choice(override: Override) -> Iterator[tuple[str, str]]:
    """For `key=choice(value)`, Hydra's text for it and `key=value` as typed."""
    written = re.fullmatch(r"([^=]+)=choice\((.*)\)", override.input_line or "", re.DOTALL)
    if written and override.is_discrete_sweep():
        values = list(override.sweep_string_iterator())
        if len(values) == 1:
            yield f"{override.get_key_element()}={values[0]}", f"{written[1]}={written[2]}"


def _show(cell: Cell) -> bool:
    """Print a finished run's result; False on an error, which the run itself then reports."""
    from mamlbench.run.terminal import print_result  # imports torch: seconds

    assert cell.folder is not None
    try:
        summary = cell.folder.read_result(cell.content)
        print_result(cell.label, cell.metric, cell.folder, summary)
    except (UserError, KeyError, TypeError):
        return False
    return all(map(_show, cell.other_tests()))


def _tell_of_changed_code(shown: Sequence[Cell]) -> None:
    """Print in one line which source files have changed since the shown runs began."""
    changed = [cell.folder.changed_code() for cell in shown if cell.folder is not None]
    if files := ", ".join(dict.fromkeys(file for each in changed for file in each)):
        count = sum(map(bool, changed))
        print(
            f"mamlbench: since {count} of them began, {files} changed; restart=true starts over",
            file=sys.stderr,
        )
