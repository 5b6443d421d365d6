"""Optuna searches from the command line: objective, pruning, resuming and mistakes."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from runs import TINY

from mamlbench import checkpoint
from mamlbench.algorithms import MAML
from mamlbench.training import Trainer

optuna = pytest.importorskip("optuna", reason="the extra tune is not installed")
pytestmark = pytest.mark.usefixtures("no_figures")

RUN = [
    *TINY["sinusoid"],
    "logger=csv",
    "hardware.threads=1",
    "training.iterations=4",
    "training.log_every=2",
    "training.validate_every=2",
    "training.checkpoint_every=2",
]
SEARCH = ["-m", "tune=maml", *RUN, "hydra.sweeper.pruner=null"]


def the_study():
    """The only study below `outputs`."""
    [file] = Path("outputs").rglob("*.db")
    storage = f"sqlite:///{file}"
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def states(study):
    return [trial.state.name for trial in study.trials]


def summaries():
    return [json.loads(path.read_text()) for path in Path("outputs").rglob("summary.json")]


def test_the_best_by_validation_is_given_as_a_command(mamlbench):
    result = mamlbench(*SEARCH, "hydra.sweeper.n_trials=2")
    assert result.code == 0, result.err
    study, runs = the_study(), summaries()
    assert states(study) == ["COMPLETE"] * 2
    # each trial's value is its run's best meta-validation, never the test
    assert sorted(t.value for t in study.trials) == sorted(r["validation"]["value"] for r in runs)
    assert all(set(trial.intermediate_values) == {2, 4} for trial in study.trials)
    assert "2 trials: 2 finished, 0 pruned, 0 failed; sqlite:///" in result.out

    command = result.out.splitlines()[-1]
    [best] = [run for run in runs if run["validation"]["value"] == study.best_value]
    assert command == best["command"]
    before = {path: path.stat().st_mtime_ns for path in Path("outputs").rglob("summary.json")}
    pasted = mamlbench(*shlex.split(command)[1:])
    assert pasted.code == 0
    after = {path: path.stat().st_mtime_ns for path in Path("outputs").rglob("summary.json")}
    assert after == before  # this is the best trial's run, which is finished

    # the same command has nothing left to do; with more trials the search continues
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=2").code == 0
    assert len(the_study().trials) == 2
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=3").code == 0
    assert len({tuple(trial.params.items()) for trial in the_study().trials}) == 3


def test_a_killed_search_goes_on_with_the_trial_it_was_at(mamlbench, monkeypatch):
    class Killed(BaseException):
        """An exit that no error handler catches, as after a signal."""

    with monkeypatch.context() as patch:
        run, calls = Trainer.run, []

        def killed_in_the_second(trainer, logger):
            calls.append(trainer)
            if len(calls) == 2:
                step = trainer._step

                def stop_after_three(request):
                    step(request)
                    if trainer.iteration == 3:
                        raise Killed

                trainer._step = stop_after_three
            run(trainer, logger)

        patch.setattr(Trainer, "run", killed_in_the_second)
        with pytest.raises(Killed):
            mamlbench(*SEARCH, "hydra.sweeper.n_trials=2")
    assert states(the_study()) == ["COMPLETE", "RUNNING"]

    begun = []
    resume = Trainer.resume

    def watched(trainer):
        found = resume(trainer)
        begun.append(trainer.iteration)
        return found

    monkeypatch.setattr(Trainer, "resume", watched)
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=2").code == 0
    study = the_study()
    assert states(study) == ["COMPLETE"] * 2
    assert set(study.trials[1].intermediate_values) == {2, 4}
    assert begun == [2]  # from its checkpoint
    assert len(summaries()) == 2


def test_a_killed_trial_counts_as_one_of_those_that_are_asked_for(mamlbench, monkeypatch):
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=1").code == 0
    study = the_study()
    study.ask(study.trials[0].distributions)
    study.ask()  # killed before any values were drawn
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=1").code == 0
    assert states(study) == ["COMPLETE", "RUNNING", "FAIL"]
    result = mamlbench(*SEARCH, "hydra.sweeper.n_trials=3")
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert "3 trials: 3 finished, 0 pruned, 0 failed" in result.out


def test_another_budget_is_another_search(mamlbench):
    one = *SEARCH, "evaluation.validation_tasks=21", "hydra.sweeper.n_trials=1"
    assert mamlbench(*one, "budget=smoke").code == 0
    assert mamlbench(*one).code == 0
    assert len(list(Path("outputs").rglob("tune/*.db"))) == 2
    assert sorted("shortened" in run for run in summaries()) == [False, True]


def test_so_is_another_warm_start_wherever_it_lies(mamlbench, run):
    one = *SEARCH, "hydra.sweeper.n_trials=1"
    shutil.copytree(run, "moved")
    for more in ([], [f"warm_start={run}"], ["warm_start=moved"]):
        assert mamlbench(*one, *more).code == 0
    assert len(list(Path("outputs").rglob("tune/*.db"))) == 2
    begun_from = checkpoint.resolve(Path("moved"))
    state = torch.load(begun_from, weights_only=True)
    torch.save({**state, "seconds": 1.0}, begun_from)  # an equal learner from another training
    assert mamlbench(*one, "warm_start=moved").code == 0
    assert len(list(Path("outputs").rglob("tune/*.db"))) == 2
    next(iter(state["learner"].values())).add_(1.0)
    torch.save(state, begun_from)
    assert mamlbench(*one, "warm_start=moved").code == 0
    assert len(list(Path("outputs").rglob("tune/*.db"))) == 3


def test_a_trial_is_pruned_by_its_validation(mamlbench):
    search = [
        *["-m", "hydra/sweeper=optuna", *RUN, "hydra.sweeper.n_trials=1"],
        "hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner",
        *["~hydra.sweeper.pruner.n_startup_trials", "+hydra.sweeper.pruner.upper=10.0"],
    ]
    result = mamlbench(*search, "algorithm.inner_lr=choice(30.0)")  # a bad but finite loss
    assert result.code == 2
    [trial] = the_study().trials
    assert trial.state.name == "PRUNED"
    assert set(trial.intermediate_values) == {2}
    assert trial.intermediate_values[2] > 10.0
    assert re.search(r"seed0: pruned at iteration 2: val/mse \d", result.err)
    assert "no trial of this search finished (0 finished, 1 pruned, 0 failed)" in result.err
    assert summaries() == []


def test_a_failing_trial_stops_no_other(mamlbench, monkeypatch):
    step, failed = MAML.meta_step, []

    def fails_at_first(learner, tasks):
        if not failed:
            failed.append(learner)
            raise RuntimeError("of this trial alone")
        return step(learner, tasks)

    monkeypatch.setattr(MAML, "meta_step", fails_at_first)
    result = mamlbench(*SEARCH, "hydra.sweeper.n_trials=2")
    assert result.code == 0
    assert states(the_study()) == ["FAIL", "COMPLETE"]
    assert "1 finished, 0 pruned, 1 failed" in result.out


def test_what_is_typed_has_the_last_word_over_the_space(mamlbench):
    search = ["-m", "tune=fomaml", "algorithm=fomaml", *RUN, "hydra.sweeper.n_trials=1"]
    assert (
        mamlbench(*search, "algorithm.inner_steps=1", "algorithm.clip=interval(1.0,2.0)").code == 0
    )
    [trial] = the_study().trials
    assert trial.params.keys() == {"algorithm.inner_lr", "algorithm.outer_lr", "algorithm.clip"}
    assert " algorithm.inner_steps=1 " in summaries()[0]["command"]


def test_null_is_no_search(mamlbench):
    assert mamlbench("-m", "tune=null", *RUN, "seed=0,1").code == 0
    assert len(summaries()) == 2


def test_one_process_searches_at_a_time(mamlbench):
    assert mamlbench(*SEARCH, "hydra.sweeper.n_trials=1").code == 0
    [file] = Path("outputs").rglob("*.db")
    from mamlbench.locks import only_one

    with only_one(file.with_suffix(".lock"), "it"):
        result = mamlbench(*SEARCH, "hydra.sweeper.n_trials=2")
    assert result.code == 75
    assert re.search(
        r"^mamlbench: the search outputs/.*\.db: process \d+ on .* is working on it;",
        result.err,
        re.M,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune=maml"], "tune=maml: a search is a sweep, which needs -m"),
        (["-m", "tune=mmal"], "tune=mmal: accepted is anil, bmaml, "),
        (
            ["-m", "hydra/sweeper=optuna"],
            "algorithm=maml: has no search space; accepted is tune= one of anil, bmaml, ",
        ),
        (
            ["-m", "tune=maml", "training.validate_every=0"],
            "no trial of this search finished (0 finished, 0 pruned, 1 failed); ",
        ),
        (
            ["-m", "tune=maml", "hydra.sweeper.n_jobs=0"],
            "hydra.sweeper.n_jobs=0: accepted is 1 or more",
        ),
        (
            ["-m", "tune=maml", "hydra.sweeper.n_trials=few"],
            'hydra.sweeper.n_trials="few": accepted is a whole number',
        ),
        (
            ["-m", "tune=maml", "hydra.sweeper.storage=garbage"],
            "hydra.sweeper.storage=garbage: ",
        ),
        (
            ["-m", "tune=maml", "hydra.sweeper.storage='sqlite:////no/such/folder/x.db'"],
            "hydra.sweeper.storage=sqlite:////no/such/folder/x.db: ",
        ),
    ],
)
def test_mistakes(mamlbench, arguments, says):
    more = ["hydra.sweeper.n_trials=1"] if "-m" in arguments else []
    result = mamlbench(*RUN, *more, *arguments)
    assert result.code == 2
    last = result.err.splitlines()[-1]
    assert last.startswith(f"mamlbench: {says}"), result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("evaluation.select=best_training", "evaluation.select=best_training: accepted is best, "),
        ("training.iterations=0", "training.iterations=0: accepted is 1 or more; a search uses"),
        ("training.validate_every=0", "training.validate_every=0: accepted is 1 or more, on a "),
    ],
)
def test_a_trial_has_to_be_validated(mamlbench, more, says):
    result = mamlbench(*SEARCH, more, "hydra.sweeper.n_trials=1")
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err
    assert not summaries()


def test_any_seed_of_the_sampler(mamlbench):
    more = "hydra.sweeper.n_trials=1", "hydra.sweeper.sampler.seed=null"
    assert mamlbench(*SEARCH, *more).code == 0
    assert states(the_study()) == ["COMPLETE"]


def test_without_optuna(mamlbench, without):
    without("optuna")
    result = mamlbench(*SEARCH)
    assert result.code == 2
    assert result.complaint == (
        "hydra/sweeper=optuna: Optuna is not installed; `pip install -e '.[tune]'` in the "
        "checkout installs it"
    )
