"""The command `mamlbench`: one run or a sweep, from a composed config."""

from __future__ import annotations

import logging
import logging.config
import os
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from mamlbench import __version__
from mamlbench.cli.arguments import find_own_modules, leave_the_pipe
from mamlbench.errors import (
    AFTER_SIGNAL,
    BUSY,
    FAILED,
    USER_ERROR,
    Busy,
    Lost,
    Pruned,
    UserError,
)
from mamlbench.hardware.processes import here, launch

if TYPE_CHECKING:
    from omegaconf import DictConfig

_busy: list[str] = []
"""Runs of this process's sweep that other processes are working on."""


class Told(UserError):
    """A mistake that another process has already reported."""


def main() -> None:
    """Entry point; exits with 0, with 2 after a user's mistake, and with 128 + n after signal n.

    Exits with 1 if one of the processes that share a run failed, and with 75 if another process is
    working on the run. A sweep tries every run; its exit code is that of the first failed run,
    otherwise 75 if other processes are working on some of the runs.
    """
    arguments = sys.argv[1:]
    find_own_modules()
    if "--version" in arguments:  # Hydra would print its own version
        print(f"mamlbench {__version__}")
        return
    _be_quiet_unless_first()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors are raised, not printed
    try:
        from mamlbench.cli.command_line import in_order

        arguments = in_order(arguments)
        _command(arguments)
    except (UserError, Lost, Busy) as error:  # Busy from a search; `_run` handles it for runs
        _fail(error)
    except KeyboardInterrupt:  # before or after the parts that save themselves
        print("mamlbench: interrupted", file=sys.stderr)
        raise SystemExit(AFTER_SIGNAL + signal.SIGINT) from None
    except BrokenPipeError:
        leave_the_pipe()
    except Exception as error:
        from mamlbench.config.hydra_errors import one_line

        line = one_line(error, arguments)
        if line is None:
            raise
        _fail(UserError(line))
    _end()


def _command(arguments: list[str]) -> None:
    from mamlbench.cli import help as help_
    from mamlbench.cli.command_line import for_hydra, refuse_what_misplaces_runs
    from mamlbench.config.overrides import parsed

    refuse_what_misplaces_runs(arguments)
    if help_.wanted(arguments):
        print(help_.text(arguments))
    else:
        sys.argv[1:] = for_hydra(arguments)
        if parsed(sys.argv[1:]).multirun:
            _prepare_sweep()
        _busy.clear()
        _hydra_main()
        if _busy:
            others = f"other processes are working on {len(_busy)} of these runs"
            print(f"mamlbench: {others}", file=sys.stderr)
            raise SystemExit(BUSY)


def _prepare_sweep() -> None:
    from hydra.core.plugins import Plugins

    Plugins.instance()  # first: executes Hydra's plugin modules, whose classes ours inherit from
    from mamlbench.slurm.launcher import SlurmLauncher
    from mamlbench.sweeps.sweeper import CellSweeper
    from mamlbench.tuning.sweeper import OptunaSweeper

    for ours in (CellSweeper, OptunaSweeper, SlurmLauncher):
        # Hydra accepts plugins only from the package `hydra_plugins`
        name = f"hydra_plugins.mamlbench.{ours.__name__}"
        Plugins.instance().class_name_to_class[name] = ours


def _hydra_main() -> None:
    import hydra

    hydra.main(config_path="pkg://mamlbench.conf", config_name="config", version_base="1.3")(_run)()


def _run(config: DictConfig) -> float | None:
    """Run one job; return its best meta-validation value, which a sweeper may optimise."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mamlbench.config.overrides import require_one_run
    from mamlbench.config.sources import CONFIG_DIR, SEARCHPATH, config_sources, missing_preset
    from mamlbench.slurm.options import is_submitted
    from mamlbench.slurm.this_job import job_id

    hydra_config: Any = HydraConfig.get()
    choices, overrides = hydra_config.runtime.choices, _as_typed(hydra_config.overrides.task)
    in_sweep = hydra_config.mode == RunMode.MULTIRUN
    try:
        if not in_sweep:
            require_one_run(hydra_config.sweeper.get("params"), overrides)
        if is_submitted(config.hardware) and job_id() is None:
            accepted = "one for the whole sweep" if in_sweep else "it with -m, even for one run"
            why = "submits the runs of a sweep"
            raise UserError(f"hardware={choices.hardware}: {why}; accepted is {accepted}")
        names = str(choices.algorithm), str(choices.dataset)
        searchpath = config_sources(hydra_config, CONFIG_DIR, SEARCHPATH)
        preset = missing_preset(hydra_config)
        job = _Job(config, *names, overrides, hydra_config.sweeper, searchpath, preset)
        return _one_run(job)
    except Busy as busy:
        if not in_sweep:
            _fail(busy)
        print(f"mamlbench: {busy}", file=sys.stderr)
        _busy.append(str(busy))
        return None
    except (UserError, Lost) as error:
        if not in_sweep:
            _fail(error)  # exit here, because Hydra would print its own message first
        print(f"mamlbench: {' '.join(overrides)}: {error}", file=sys.stderr)
        _let_go(error)
        raise  # the other runs continue; the sweep then fails with its first error
    except Exception as error:
        if in_sweep:  # the sweep itself shows only its first error
            traceback.print_exc()
            _let_go(error)
        raise


def _let_go(error: BaseException | None) -> None:
    """Free a failed run's memory: Hydra keeps the error, whose traceback holds learner and data."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _as_typed(overrides: Any) -> list[str]:
    """An OmegaConf list as plain strings, with interpolations unresolved."""
    from omegaconf import OmegaConf

    typed: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(override) for override in typed]


class _Job(NamedTuple):
    """What Hydra passes to a run.

    Attributes:
        algorithm: name of the algorithm's config; `dataset` likewise.
        searchpath: the user's config folders.
        missing_preset: the preset that would set rates and lengths, if it does not exist.
    """

    config: DictConfig
    algorithm: str
    dataset: str
    overrides: list[str]
    sweeper: DictConfig
    searchpath: list[str]
    missing_preset: str | None


def _one_run(job: _Job) -> float | None:
    from mamlbench.config.build import build, construct, plain
    from mamlbench.errors import require
    from mamlbench.hardware.device import Hardware
    from mamlbench.slurm.options import of_the_run

    if job.config.analysis is not None:
        for option in ("checkpoint", "warm_start"):
            path = job.config[option]
            require(path is None, option, path, "null, because an analysis uses no run")
        if here().is_first:
            build(job.config.analysis, "analysis").run()
        return None
    hardware = of_the_run(plain(job.config.hardware))
    count = construct(Hardware, hardware, "hardware").started_processes
    if count > 1:
        try:
            return cast(float, launch(count, _one_of_several, _job_logging(), job))
        except Lost as lost:
            if lost.exit_code in (USER_ERROR, BUSY):
                kind = Told if lost.exit_code == USER_ERROR else Busy
                raise kind("see the message above") from None
            raise
    return _here(job)


def _here(job: _Job) -> float | None:
    """Do the run in this process, alone or together with the processes it shares the work with."""
    from mamlbench.compose import check_other_tests, other_tests
    from mamlbench.experiment import Experiment
    from mamlbench.hardware.distributed import joined
    from mamlbench.run.signals import Stopped
    from mamlbench.run.terminal import announce, report
    from mamlbench.tuning import trial

    ranks = joined()
    made_by = job.config, job.algorithm, job.dataset, job.overrides
    build = partial(Experiment, *made_by, ranks, job.searchpath)
    experiment = build()
    if experiment.options.also_test:
        ranks.together(partial(check_other_tests, experiment, job.searchpath))
        experiment = build()  # again, because building the tests drew from the random numbers
    number = job.sweeper.get("trial") if ranks.is_first else None
    study = None if number is None else trial.watch(experiment, job.sweeper)
    if ranks.is_first:
        announce(experiment, job.missing_preset)
    at_work = experiment
    try:
        summary = experiment.run()
        if study is not None and number is not None:
            trial.conclude(study, number, summary)
        if ranks.is_first:
            report(experiment, summary)
            for at_work in other_tests(experiment, job.searchpath):
                announce(at_work)
                report(at_work, at_work.run())
    except Pruned as pruned:
        _end(f"{experiment.folder.path}: {pruned}")
        return None
    except Stopped as stop:
        where = f"{stop.place}, saved in {at_work.folder.path}"
        again = "the same command goes on from there"
        if experiment.options.restart:
            again = "the same command without restart=true goes on from there"
        _end(f"stopped by {signal.Signals(stop.signal).name} at {where}; {again}")
        raise SystemExit(AFTER_SIGNAL + stop.signal) from None
    return None if summary["validation"] is None else summary["validation"]["value"]


def _one_of_several(log: dict[str, Any], job: _Job) -> float | None:
    """One process's part of a run, in a process that `_one_run` started."""
    logging.config.dictConfig(log)
    _be_quiet_unless_first()
    try:
        result = _here(job)
        _end()
        return result
    except (UserError, Busy) as error:
        _fail(error)
    except Lost:  # the parent process reports which process failed first
        _give_way()
    except Exception:
        traceback.print_exc()
    raise SystemExit(FAILED)


def _job_logging() -> dict[str, Any]:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    log: Any = OmegaConf.to_container(HydraConfig.get().job_logging, resolve=True)
    return log


def _be_quiet_unless_first() -> None:
    """Let only the first of several processes print and log; all of them may print errors."""
    if not here().is_first:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 -- until this process ends
        logging.disable(logging.WARNING)


def _fail(error: UserError | Busy | Lost) -> NoReturn:
    lost = isinstance(error, Lost)
    if not isinstance(error, Told):
        _end(str(error), lost)
    if lost and here().size > 1:
        _give_way()
    raise SystemExit(FAILED if lost else BUSY if isinstance(error, Busy) else USER_ERROR)


def _end(line: str | None = None, lost: bool = False) -> None:
    """Print how the run ended; of several processes, only the responsible one prints it."""
    if here().size > 1:
        from mamlbench.hardware.distributed import leave

        leave(line, lost)
    elif line is not None:
        print(f"mamlbench: {line}", file=sys.stderr)


def _give_way() -> None:
    """Wait, so that the process's supervisor notices the first failed process first."""
    time.sleep(1.0)
