"""A Hydra sweeper that asks Optuna for the values of the next runs.

It replaces hydra-optuna-sweeper, which pins Optuna 2, whose databases fail with current SQLAlchemy,
cannot prune, and restarts its count of trials when the same command is run again.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from mamlbench.config.budget import within_budget
from mamlbench.config.build import build, construct, plain
from mamlbench.config.config_hash import config_hash
from mamlbench.config.overrides import command_line, config_flags, key_of, quoted
from mamlbench.config.sources import CONFIG_DIR, SEARCHPATH, config_sources
from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError, require
from mamlbench.files import at_home, disk_errors
from mamlbench.locks import only_one
from mamlbench.slurm.options import is_submitted
from mamlbench.tuning.space import space_of
from mamlbench.words import number_of

_INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Search:
    """The options of a search; see `conf/hydra/sweeper/optuna.yaml`.

    Raises:
        BadValue: a value out of range.
    """

    params: dict[str, Any]
    sampler: dict[str, Any]
    pruner: dict[str, Any] | None
    n_trials: int = 20
    n_jobs: int = 1
    storage: str | None = None
    study_name: str | None = None
    trial: int | None = None

    def __post_init__(self) -> None:
        require(self.n_trials >= 1, "n_trials", self.n_trials, "1 or more")
        require(self.n_jobs >= 1, "n_jobs", self.n_jobs, "1 or more")


class OptunaSweeper(Sweeper):
    """Runs trials until there are `n_trials`; takes the options of `Search`."""

    def __init__(self, **options: Any) -> None:
        self._given = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by Hydra before `sweep`."""
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search, resuming an earlier search by the same command; print the best trial.

        Raises:
            UserError: Optuna is missing, an option or the database cannot be used, there is no
                search space, or no trial finished.
            Busy: another process runs the same search.
        """
        if importlib.util.find_spec("optuna") is None:
            raise UserError(
                "hydra/sweeper=optuna: Optuna is not installed; `pip install -e '.[tune]'` in the "
                "checkout installs it"
            )
        given = {name: plain(value) for name, value in self._given.items()}
        self.options = construct(Search, given, "hydra.sweeper")
        space, fixed = self._space(arguments)
        composed: Any = self.config
        own = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
        task, _ = within_budget(own)
        choices = composed.hydra.runtime.choices
        known = str(sorted(space.items(), key=str))
        from mamlbench.run.result_hash import result_hash  # imports torch: seconds

        # like the name of a trial's run, the study's name depends on the warm start
        warm = {} if task["warm_start"] is None else {"run": result_hash(task)}
        hash_ = config_hash(task, space=known, seed=str(task["seed"]), **warm)
        name = f"{choices.algorithm}_{choices.dataset}-{hash_}"
        folder = at_home(task["outputs"]) / task["name"] / "tune"
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder / f"{name}.lock", f"the search {folder / name}.db"):
            study = self._study(name, folder, task)
            self._search(study, space, fixed)
        self._show_best(study, fixed)

    def _space(self, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The search space, and the overrides common to all trials."""
        params = [f"{key}={value}" for key, value in self.options.params.items()]
        space, fixed = space_of([*params, *arguments])
        composed: Any = self.config
        algorithm = composed.hydra.runtime.choices.algorithm
        if not space:
            own = config_flags(config_sources(composed.hydra, CONFIG_DIR))
            known = ", ".join(ConfigTree(own).choices("tune"))
            raise UserError(
                f"algorithm={algorithm}: has no search space; accepted is tune= one of {known}, or "
                "an option such as algorithm.inner_lr=interval(0.01,1)"
            )
        # everything that `tune` brought is in the space, except the algorithm
        others = [line for line in fixed if key_of(line) not in ("tune", "algorithm")]
        return space, [f"algorithm={algorithm}", *others]

    def _study(self, name: str, folder: Path, task: dict[str, Any]) -> Any:
        import optuna
        from hydra.utils import instantiate
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        objective = build(task["dataset"], "dataset").objective
        self.metric = objective.metric
        self.storage = self.options.storage or f"sqlite:///{folder.absolute() / name}.db"
        try:
            study = optuna.create_study(
                study_name=self.options.study_name or name,
                storage=self.storage,
                direction="maximize" if objective.higher_is_better else "minimize",
                load_if_exists=True,
            )
        except (SQLAlchemyError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"hydra.sweeper.storage={self.storage}: {reason}; accepted is the URL of a "
                "database, as sqlite:///FILE, or null"
            ) from error
        sampler = dict(self.options.sampler)
        if sampler.get("seed") is not None:  # a resumed search must not draw the same values again
            sampler["seed"] += len(study.trials)
        study.sampler = instantiate(sampler)
        return study

    def _search(self, study: Any, space: dict[str, Any], fixed: list[str]) -> None:
        from optuna.trial import TrialState

        begun = _begun(study, space)
        over = _counted(study) - len(begun)
        begun = begun[: max(0, self.options.n_trials - over)]
        while True:
            trials, begun = begun[: self.options.n_jobs], begun[self.options.n_jobs :]
            new = min(self.options.n_trials - _counted(study), self.options.n_jobs - len(trials))
            trials += [study.ask(space) for _ in range(new)]
            if not trials:
                return
            jobs = [[*fixed, *_values(t.params), *self._place(study, t.number)] for t in trials]
            launcher: Any = self.launcher
            returned = launcher.launch(jobs, initial_job_idx=trials[0].number)
            for trial, job in zip(trials, returned, strict=True):
                if job.status != JobStatus.COMPLETED:
                    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _place(self, study: Any, number: int) -> list[str]:
        """Overrides that tell a job its trial; being Hydra's, they do not belong to the run."""
        return [
            f"hydra.sweeper.storage={quoted(self.storage)}",
            f"hydra.sweeper.study_name={quoted(study.study_name)}",
            f"hydra.sweeper.trial={number}",
        ]

    def _show_best(self, study: Any, fixed: Sequence[str]) -> None:
        from optuna.trial import TrialState

        states = [trial.state for trial in study.trials if _counts(trial)]
        counts = {state: states.count(state) for state in TrialState}
        told = (
            f"{counts[TrialState.COMPLETE]} finished, {counts[TrialState.PRUNED]} pruned, "
            f"{counts[TrialState.FAIL]} failed"
        )
        if not counts[TrialState.COMPLETE]:
            raise UserError(f"no trial of this search finished ({told}); see their messages above")
        best = study.best_trial
        sys.stderr.flush()
        print(f"\n{number_of(len(states), 'trial')}: {told}; {self.storage}")
        print(f"best validation: {self.metric} {best.value:.4g}, trial {best.number}:")
        config: Any = self.config
        sweep = ["-m"] if is_submitted(config.hardware) else []  # SLURM needs -m for one run too
        searchpath = config_sources(config.hydra, CONFIG_DIR, SEARCHPATH)
        found = [*sweep, *fixed, *_values(best.params)]
        print(command_line(found, searchpath), flush=True)


def _values(params: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def _begun(study: Any, space: dict[str, Any]) -> list[Any]:
    """The trials that were running when the search was killed, to resume from their checkpoints.

    They keep their numbers, by which SLURM jobs that are still alive report to the study. This
    search holds the lock, so no other search waits for these trials.
    """
    import optuna

    begun = study.get_trials(states=[optuna.trial.TrialState.RUNNING])
    for trial in begun:
        if space.keys() - trial.params.keys():  # killed before all values were drawn
            optuna.trial.Trial(study, trial._trial_id).set_user_attr(_INTERRUPTED, True)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return [trial for trial in begun if space.keys() <= trial.params.keys()]


def _counts(trial: Any) -> bool:
    from optuna.trial import TrialState

    return trial.state != TrialState.WAITING and _INTERRUPTED not in trial.user_attrs


def _counted(study: Any) -> int:
    return sum(map(_counts, study.trials))
