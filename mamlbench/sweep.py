"""Sweeps: what is finished is shown, what is left goes to the launcher in one batch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from typing_extensions import override

from mamlbench.cells import Cell, CellReader
from mamlbench.errors import UserError


class CellSweeper(BasicSweeper):
    """Hydra's own sweeper, every combination of the values, without those that are finished."""

    @override
    def setup(self, **of_hydra: Any) -> None:
        super().setup(**of_hydra)
        # one that launches with a reader of its own needs not read the cells again
        reader = getattr(self.launcher, "reader", None)
        self._reader = reader or CellReader(of_hydra["hydra_context"], of_hydra["config"])
        self._next: list[list[str]] = []

    @override
    def is_done(self) -> bool:
        """Whether nothing is left to launch; looks for the next batch with something in it.

        Raises:
            hydra.errors.HydraException: an override that does not fit the config tree.
        """
        while not self._next and not super().is_done():
            self._next = self._unfinished(super().get_job_batch())
        return not self._next

    @override
    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """What `is_done` has found."""
        batch, self._next = self._next, []
        return batch

    def _unfinished(self, batch: Sequence[Sequence[str]]) -> list[list[str]]:
        """Those that are left, all of them composed and so found to be valid; shows the others."""
        cells = [self._reader.read(overrides) for overrides in batch]
        left = [cell for cell in cells if not (cell.is_finished and _show(cell))]
        if len(left) < len(batch):
            done = len(batch) - len(left)
            print(f"{done} of {len(batch)} runs were finished before", file=sys.stderr)
        return [list(cell.overrides) for cell in left]

    @override
    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: all of it has been composed."""


def _show(cell: Cell) -> bool:
    """Print a finished run's result; False where it cannot be read, which the run itself tells."""
    from mamlbench.report.terminal import print_result  # imports torch: seconds

    assert cell.folder is not None
    try:
        summary = cell.folder.read_summary()
        print_result(cell.label, cell.metric, cell.folder, summary)
    except (UserError, KeyError, TypeError):
        return False
    return True


class NeedsExtra(Launcher):
    """In the place of the SLURM launcher where its packages are not installed."""

    @override
    def setup(self, **of_hydra: Any) -> None:
        raise UserError("hardware=slurm_...: needs pip install 'mamlbench[slurm]'")

    @override
    def launch(self, job_overrides: Any, initial_job_idx: int) -> Any:
        raise NotImplementedError


def register() -> None:
    """Make sweeper and launcher known to Hydra, which takes them from `hydra_plugins` alone."""
    launcher: type[Launcher]
    try:
        from mamlbench.slurm.launcher import SlurmLauncher as launcher  # noqa: N813
    except ImportError:
        launcher = NeedsExtra
    known = Plugins.instance().class_name_to_class
    known["hydra_plugins.mamlbench.CellSweeper"] = CellSweeper
    known["hydra_plugins.mamlbench.SlurmLauncher"] = launcher
