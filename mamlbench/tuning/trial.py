"""One trial of a search, seen from its run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mamlbench.errors import UserError
from mamlbench.loggers import Logger, RunInfo

if TYPE_CHECKING:
    from mamlbench.experiment import Experiment


class Pruned(Exception):
    """The study expects no more of this trial."""


class TrialLogger(Logger):
    """Tells the study of each meta-validation, and ends the run where the study prunes it.

    Args:
        study: Optuna's study.
        trial: Optuna's trial, which the sweeper asked for.
        metric: the metric that the study is about.
    """

    def __init__(self, study: Any, trial: Any, metric: str) -> None:
        self._study, self._trial, self._metric = study, trial, metric
        # a run that goes on from a checkpoint has reported some of what it computes again
        self._reported = set(study.trials[trial.number].intermediate_values)

    def start(self, run: RunInfo) -> None:
        """Nothing to do."""

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Report the metric where it was validated.

        Raises:
            Pruned: at this value, others did better.
        """
        value = metrics.get(f"val/{self._metric}")
        if value is None:
            return
        if iteration not in self._reported:
            self._trial.report(value, iteration)
            self._reported.add(iteration)
        if self._trial.should_prune():
            from optuna.trial import TrialState

            self._study.tell(self._trial.number, state=TrialState.PRUNED)
            raise Pruned(f"pruned at iteration {iteration}: val/{self._metric} {value:.4g}")


def watch(experiment: Experiment, sweeper: Any) -> Any:
    """Have the study that `sweeper`, the config of the search, names watch a run; gives it.

    Raises:
        UserError: a run without meta-validation.
    """
    import optuna
    from hydra.utils import instantiate

    if not (experiment.training.validate_every and "val" in experiment.dataset.splits):
        raise UserError(
            f"training.validate_every={experiment.training.validate_every}: accepted is 1 or more, "
            "on a dataset with a validation split, as a search goes by meta-validation"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = instantiate(sweeper.pruner) if sweeper.pruner else optuna.pruners.NopPruner()
    study = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage, pruner=pruner)
    known = study.trials[sweeper.trial]
    trial = optuna.trial.Trial(study, known._trial_id)
    experiment.loggers.append(TrialLogger(study, trial, experiment.dataset.objective.metric))
    return study


def conclude(study: Any, number: int, summary: dict[str, Any]) -> None:
    """Tell the study the result of a trial: its best meta-validation, never the meta-test.

    Raises:
        UserError: it is not finite.
    """
    value = summary["validation"]["value"]
    if not math.isfinite(value):
        raise UserError("no meta-validation was finite")
    study.tell(number, value)
