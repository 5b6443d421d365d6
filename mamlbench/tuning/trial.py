"""Connects a run to its trial in a search."""

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
    """Reports each meta-validation to the study, and ends the run if the study prunes it.

    If the study already counts the trial as over, for example as failed after its node went down,
    the run continues without reporting.

    Args:
        study: Optuna's study.
        trial: Optuna's trial, created by the sweeper.
        metric: the metric that the study optimises.
    """

    def __init__(self, study: Any, trial: Any, metric: str) -> None:
        self._study, self._trial, self._metric = study, trial, metric
        self._is_over = False
        # a resumed run has already reported some iterations that it computes again
        self._reported = set(study.trials[trial.number].intermediate_values)

    def start(self, run: RunInfo) -> None:
        """Nothing to do."""

    def log(self, iteration: int, metrics: dict[str, float]) -> None:
        """Report the metric if `metrics` contains its validation value.

        Raises:
            Pruned: the study prunes the trial.
        """
        value = metrics.get(f"val/{self._metric}")
        if value is None or self._is_over:
            return
        try:
            pruned = self._report(iteration, value)
        except (RuntimeError, ValueError):  # `report` and `tell` raise these if the trial is over
            state = self._study.trials[self._trial.number].state
            if not state.is_finished():
                raise
            self._is_over = True
            told = f"trial {self._trial.number} is {state.name} for its search"
            _log.warning("%s, which no longer uses it; the run goes on", told)
            return
        if pruned:
            raise Pruned(f"pruned at iteration {iteration}: val/{self._metric} {value:.4g}")

    def _report(self, iteration: int, value: float) -> bool:
        """Report a value; return whether the study prunes the trial."""
        from optuna.trial import TrialState

        if iteration not in self._reported:
            self._trial.report(value, iteration)
            self._reported.add(iteration)
        pruned = bool(self._trial.should_prune())
        if pruned:
            self._study.tell(self._trial.number, state=TrialState.PRUNED)
        return pruned


def watch(experiment: Experiment, sweeper: Any) -> Any:
    """Connect a run to the study that `sweeper`, the search's config, names; return the study.

    Raises:
        UserError: the run has no meta-validation.
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
        ("checkpoint", checkpoint, checkpoint is None, "null, because a trial is trained"),
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
                f"{option}={found}: accepted is {accepted}; a search uses meta-validation"
            )


def conclude(study: Any, number: int, summary: dict[str, Any]) -> None:
    """Tell the study a trial's result: its best meta-validation, never the meta-test.

    Does nothing if the trial is already over.

    Raises:
        UserError: no meta-validation was finite.
    """
    value = (summary["validation"] or {}).get("value")
    if value is None or not math.isfinite(value):  # JSON stores NaN and infinities as None
        raise UserError("no meta-validation was finite, which a search needs")
    study.tell(number, value, skip_if_finished=True)
