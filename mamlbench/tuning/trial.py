"""One trial of a search, seen from its run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mamlbench.errors import Pruned, UserError
from mamlbench.loggers import Logger, RunInfo

if TYPE_CHECKING:
    from mamlbench.experiment import Experiment


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

    Raises:
        UserError: there was none, or it is not finite.
    """
    validation = summary["validation"]
    if validation is None:
        raise UserError("nothing was meta-validated, which a search goes by")
    value = validation["value"]
    if value is None or not math.isfinite(value):  # None: what a file keeps of it
        raise UserError("no meta-validation was finite")
    study.tell(number, value)
