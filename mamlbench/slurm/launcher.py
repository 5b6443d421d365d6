"""The Hydra launcher of `hardware=slurm_...`: submits a sweep as SLURM array jobs."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf
from typing_extensions import override

from mamlbench.config.build import construct, plain
from mamlbench.config.overrides import config_flags
from mamlbench.config.sources import CONFIG_DIR, config_sources
from mamlbench.errors import UserError
from mamlbench.files import disk_errors
from mamlbench.slurm import queue
from mamlbench.slurm.job import Job
from mamlbench.slurm.options import NAMES, Submission, is_submitted
from mamlbench.slurm.submitted import SubmittedCell, keep, log_of, new_folder, submissions
from mamlbench.slurm.waiting import wait_for
from mamlbench.sweeps.cells import Cell, CellReader
from mamlbench.words import number_of

if TYPE_CHECKING:
    from hydra.types import HydraContext


class SlurmLauncher(Launcher):
    """Submits the runs of a sweep with submitit and waits for them, unless `hardware.detach`.

    Each job executes its run's command line, not a pickled Hydra task. Runs that are already queued
    or running are not submitted again.

    Attributes:
        reader: reads the cells of this sweep.
    """

    reader: CellReader

    @override
    def setup(self, *, hydra_context: HydraContext, task_function: Any, config: Any) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise UserError("hardware=slurm_...: needs `pip install -e '.[slurm]'` in the checkout")
        self.config = config
        self.reader = CellReader(hydra_context, config)
        self._submissions: dict[str, Submission] = {}

    @override
    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the runs; wait for them unless `hardware.detach`.

        Raises:
            UserError: SLURM is missing or refuses the jobs, or an option is wrong.
        """
        cells = [self.reader.read(overrides) for overrides in job_overrides]
        asked = {cell.overrides: self._asked(cell) for cell in cells}
        detach = any(options.detach for options in asked.values())
        _require_values(detach, str(self.config.hydra.sweeper._target_))
        sweep = Path(str(self.config.hydra.sweep.dir)).absolute()
        there = _queued_already(sweep.parent) if cells else {}
        new = [cell for cell in cells if _place(cell) not in there]
        jobs = {cell.overrides: there[_place(cell)] for cell in cells if _place(cell) in there}
        _say_queued_already(jobs.values())
        for some in _arrays(new, asked):
            jobs |= self._submit(some, asked[some[0].overrides], sweep)
        if detach:
            return [_returned(cell, None) for cell in cells]
        outcomes = wait_for([jobs[cell.overrides] for cell in cells], cells)
        return [_returned(cell, outcome) for cell, outcome in zip(cells, outcomes, strict=True)]

    def _asked(self, cell: Cell) -> Submission:
        """A cell's SLURM options, or the sweep's if the cell has none because of a mistake."""
        hardware: Any = cell.hardware
        if not is_submitted(hardware):
            hardware = OmegaConf.to_container(self.config.hardware, resolve=True)
        key = repr(hardware)
        if key not in self._submissions:
            values = {name: value for name, value in hardware.items() if name in NAMES}
            self._submissions[key] = construct(Submission, plain(values), "hardware")
        return self._submissions[key]

    def _submit(
        self, cells: Sequence[Cell], asked: Submission, sweep: Path
    ) -> dict[tuple[str, ...], SubmittedCell]:
        """Submit one array job; return the submitted cells by their overrides."""
        import submitit

        with disk_errors(sweep):
            folder = new_folder(sweep)
        python = f"{shlex.quote(sys.executable)} -u -m mamlbench.slurm"
        try:
            executor = submitit.SlurmExecutor(folder, python=python)
            executor.update_parameters(**asked.parameters())
            jobs = executor.submit_array([Job(self._arguments(cell)) for cell in cells])
        except (RuntimeError, OSError) as error:  # submitit raises subclasses of RuntimeError
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"hardware: SLURM refuses the jobs: {_reason(error)}") from error
        found = [
            SubmittedCell(job.job_id, cell.overrides, _place(cell), log_of(folder, job.job_id))
            for job, cell in zip(jobs, cells, strict=True)
        ]
        keep(folder, found)
        job, runs = found[0].job.split("_")[0], number_of(len(found), "run")
        print(f"submitted job {job}: {runs}, logs in {folder}")
        return {cell.overrides: cell for cell in found}

    def _arguments(self, cell: Cell) -> tuple[str, ...]:
        """The arguments of `mamlbench` for this run alone, with the same config folders."""
        own = config_flags(config_sources(self.config.hydra, CONFIG_DIR))
        typed: Any = OmegaConf.to_container(self.config.hydra.overrides.hydra)
        hydra = [text for text in typed if not text.startswith("hydra.mode=")]
        return (*own, *hydra, *cell.overrides)


def _require_values(detach: bool, sweeper: str) -> None:
    """Refuse `detach` in a search, which needs the results of one batch to choose the next."""
    if detach and not sweeper.endswith(".CellSweeper"):
        accepted = f"false: hydra/sweeper={sweeper.rsplit('.', 1)[-1]} waits for results"
        raise UserError(f"hardware.detach=true: accepted is {accepted}")


def _place(cell: Cell) -> Path | None:
    return None if cell.folder is None else cell.folder.path.absolute()


def _queued_already(outputs: Path) -> dict[Path | None, SubmittedCell]:
    """Runs of earlier submissions whose jobs are queued or running, by run folder.

    Raises:
        UserError: there are earlier submissions, and squeue does not answer.
    """
    earlier = [cell for cells in submissions(outputs.absolute()) for cell in cells]
    known = queue.jobs() if earlier else {}
    if known is None:
        unknown = "some of these runs may already be queued"
        raise UserError(f"hardware: squeue does not answer: {unknown}; nothing was submitted")
    alive = [cell for cell in earlier if cell.job in known and known[cell.job].is_alive]
    return {cell.folder: cell for cell in alive if cell.folder is not None}


def _say_queued_already(cells: Iterable[SubmittedCell]) -> None:
    ids = [cell.job.split("_")[0] for cell in cells]
    for job in dict.fromkeys(ids):
        print(f"already queued or running in job {job}: {number_of(ids.count(job), 'run')}")


def _arrays(
    cells: Sequence[Cell], asked: dict[tuple[str, ...], Submission]
) -> Iterator[Sequence[Cell]]:
    """Groups of cells with equal SLURM options, each small enough for one array."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(repr(asked[cell.overrides]), []).append(cell)
    most = queue.most_array_tasks() if cells else None
    for group in alike.values():
        step = most or len(group)
        yield from (group[first : first + step] for first in range(0, len(group), step))


def _returned(cell: Cell, outcome: float | Exception | None) -> JobReturn:
    failed = isinstance(outcome, Exception)
    returned = JobReturn(
        overrides=cell.overrides,
        working_dir=str(Path.cwd()),
        status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
    )
    returned.return_value = outcome
    return returned


def _reason(error: Exception) -> str:
    """sbatch's error message, from submitit's several lines."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line.split("error: ", 1)[1] for line in lines if "error: " in line]
    return (said or lines or [type(error).__name__])[-1]
