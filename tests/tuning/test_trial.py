"""What a trial reports to its study, and what happens to a run whose trial is already over."""

import logging

import pytest

from mamlbench.errors import Pruned
from mamlbench.tuning.trial import TrialLogger, conclude

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")


@pytest.fixture
def study():
    """A study that prunes values above 1."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=1.0))


def test_a_trial_ends_where_the_study_prunes_it(study):
    trial = study.ask()
    logger = TrialLogger(study, trial, "mse")
    logger.log(1, {"val/mse": 0.5})
    logger.log(2, {"train/loss": 7.0})
    with pytest.raises(Pruned, match="pruned at iteration 3: val/mse 2"):
        logger.log(3, {"val/mse": 2.0})
    [told] = study.trials
    assert (told.state, told.intermediate_values) == (
        optuna.trial.TrialState.PRUNED,
        {1: 0.5, 3: 2.0},
    )


@pytest.mark.parametrize("reported_before", [False, True])
def test_a_run_goes_on_whose_trial_is_over(study, caplog, reported_before):
    trial = study.ask()
    if reported_before:  # before the run resumed from an earlier checkpoint
        trial.report(2.0, 1)
    logger = TrialLogger(study, trial, "mse")
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    logger.log(1, {"val/mse": 2.0})
    logger.log(2, {"val/mse": 2.0})
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("trial 0 is FAIL for its search, ")
    conclude(study, trial.number, {"validation": {"value": 0.25}})
    assert study.trials[0].state is optuna.trial.TrialState.FAIL


def test_another_error_is_not_taken_for_that(study, monkeypatch):
    def fails(value, step):
        raise RuntimeError("the database is gone")

    trial = study.ask()
    monkeypatch.setattr(trial, "report", fails)
    with pytest.raises(RuntimeError, match="the database is gone"):
        TrialLogger(study, trial, "mse").log(1, {"val/mse": 0.5})


def test_a_result_is_told_once(study):
    """A job requeued during an additional test reports its result again."""
    trial = study.ask()
    for value in (0.25, 0.5):
        conclude(study, trial.number, {"validation": {"value": value}})
    assert study.trials[0].value == 0.25
