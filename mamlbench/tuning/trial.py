"""One trial of a search, seen from its run."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from mamlbench.errors import Pruned, UserError
from mamlbench.loggers import Logger, RunInfo

if TYPE_CHECKING:
    from mamlbench.experiment import Experiment


_log = logging.getLogger(__name__)


class TrialLogger(Logger):
    """Tells the study of each meta-validation, and ends the run where the study prunes it.

    Where the trial is over for the study, say as failed with a node on which its job ran, the run
    goes on, and the study is told no more.

    Args:
        study: Optuna's study.
        trial: Optuna's trial, which the sweeper asked for.
        metric: the metric that the study is about.
    """

    def __init__(self, study: Any, trial: Any, metric: str) -> None:
        self._study, self._trial, self._metric = study, trial, metric
        self._is_over = False
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
        if value is None or self._is_over:
            return
        try:
            pruned = self._report(iteration, value)
        except (RuntimeError, ValueError):  # what `report` and `tell` raise of a trial that is over
            state = self._study.trials[self._trial.number].state
            if not state.is_finished():
                raise
            self._is_over = True
            told = f"trial {self._trial.number} is {state.name} for its search"
            _log.warning("%s, which learns no more of it; the run goes on", told)
            return
        if pruned:
            raise Pruned(f"pruned at iteration {iteration}: val/{self._metric} {value:.4g}")

    def _report(self, iteration: int, value: float) -> bool:
        """Tell the study; whether it prunes the trial."""
        from optuna.trial import TrialState

        if iteration not in self._reported:
            self._trial.report(value, iteration)
            self._reported.add(iteration)
        pruned = bool(self._trial.should_prune())
        if pruned:
            self._study.tell(self._trial.number, state=TrialState.PRUNED)
        return pruned


def watch(experiment: Experiment, sweeper: Any) -> Any:
    """Have the study that `sweeper`, the config of the search, names watch a run; gives it.

    Raises:
        UserError: a run without meta-validation.
    """
    import optuna
    from hydra.utils import instantiate

    _require_validation(experiment)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = instantiate(sweeper.pruner) if sweeper.pruner else optuna.pruners.NopPruner()
    study = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage, pruner=pruner)
    known = study.trials[sweeper.trial]
    trial = optuna.trial.Trial(study, known._trial_id)
    experiment.loggers.append(TrialLogger(study, trial, experiment.dataset.objective.metric))
    return study


def _require_validation(experiment: Experiment) -> None:
    training, select = experiment.training, experiment.protocol.select
    checkpoint = experiment.options.checkpoint
    validated = training.validate_every > 0 and "val" in experiment.dataset.splits
    for option, found, fits, accepted in (
        ("checkpoint", checkpoint, checkpoint is None, "null, as a trial is trained"),
        ("training.iterations", training.iterations, training.iterations > 0, "1 or more"),
        ("evaluation.select", select, not experiment.protocol.by_training, "best, topK or last"),
        (
            "training.validate_every",
            training.validate_every,
            validated,
            "1 or more, on a dataset with a validation split",
        ),
    ):
        if not fits:
            raise UserError(
                f"{option}={found}: accepted is {accepted}; a search goes by meta-validation"
            )


def conclude(study: Any, number: int, summary: dict[str, Any]) -> None:
    """Tell the study the result of a trial: its best meta-validation, never the meta-test.

    Nothing, where the trial is over for the study.

    Raises:
        UserError: there was none, or it is not finite.
    """
    validation = summary["validation"]
    if validation is None:
        raise UserError("nothing was meta-validated, which a search goes by")
    value = validation["value"]
    if value is None or not math.isfinite(value):  # None: what a file keeps of it
        raise UserError("no meta-validation was finite")
    study.tell(number, value, skip_if_finished=True)
