"""The command line's runs from Python: `experiment(["algorithm=reptile"]).run()`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from omegaconf import DictConfig

from mamlbench.config.hydra_errors import one_line
from mamlbench.config.overrides import config_flags, key_of, other_test, over
from mamlbench.config.tree import composed, without_hydra
from mamlbench.errors import UserError
from mamlbench.experiment import Experiment
from mamlbench.run.begin_from import load_learner
from mamlbench.run.made_by import with_overrides_of_checkpoint


def config(overrides: Sequence[str] = (), searchpath: Sequence[str] = ()) -> DictConfig:
    """The config that `mamlbench <overrides>` would run, including the `hydra` node.

    See `config.tree.composed` for the arguments.

    Raises:
        UserError: `checkpoint` names nothing that can be tested.
        hydra.errors.HydraException: an override does not fit the config tree.
    """
    made: DictConfig = composed(_in_full(overrides, searchpath), searchpath)
    return made


def experiment(overrides: Sequence[str] = (), searchpath: Sequence[str] = ()) -> Experiment:
    """Build and check the run that `mamlbench <overrides>` would do; see `config`.

    Raises:
        UserError: something in the config cannot work.
        hydra.errors.HydraException: an override does not fit the config tree.
    """
    return _built(_in_full(overrides, searchpath), searchpath)


def _in_full(overrides: Sequence[str], searchpath: Sequence[str]) -> list[str]:
    """The overrides after those of the run that made their `checkpoint`, if any."""
    flags = config_flags(searchpath)
    return [o for o in with_overrides_of_checkpoint([*flags, *overrides]) if o not in flags]


def _built(overrides: list[str], searchpath: Sequence[str]) -> Experiment:
    made = composed(overrides, searchpath)
    return Experiment(without_hydra(made), *_names(made), overrides, searchpath=searchpath)


def check_other_tests(run: Experiment, searchpath: Sequence[str] = ()) -> None:
    """Build the additional tests in a run's `also_test` before training, to find mistakes early.

    This draws from torch's random number generator and changes process-wide settings
    (`Hardware.apply`).

    Raises:
        UserError: something in one of the tests cannot work.
    """
    for test in run.options.also_test:
        for override in test:
            if key_of(override) in ("checkpoint", "warm_start", "also_test"):
                accepted = "options for testing what this run has learned"
                raise UserError(f"also_test: {override}: accepted are {accepted}")
        overrides = over(other_test(run.overrides, test, ""), ["checkpoint=null"])
        try:
            learner = _built(overrides, searchpath).learner
            load_learner(learner, {"learner": run.learner.state_dict()}, run.folder.path)
        except Exception as error:
            line = _in_one_line(error, overrides, searchpath)
            if line is None:
                raise
            raise UserError(f"also_test: {line}") from error


def other_tests(trained: Experiment, searchpath: Sequence[str] = ()) -> Iterator[Experiment]:
    """The additional tests in a finished run's `also_test`, each built when it is reached.

    Raises:
        UserError: something in one of the tests cannot work.
        hydra.errors.HydraException: an override does not fit the config tree.
    """
    learned = trained.options.checkpoint or str(trained.folder.path)
    for test in trained.options.also_test:
        yield _built(other_test(trained.overrides, test, learned), searchpath)


def _in_one_line(
    error: Exception, overrides: Sequence[str], searchpath: Sequence[str]
) -> str | None:
    """What is wrong with a test, in one line; None if the user did not cause the error."""
    if isinstance(error, UserError):
        return str(error)
    return one_line(error, [*config_flags(searchpath), *overrides])


def _names(made: DictConfig) -> tuple[str, str]:
    choices = made.hydra.runtime.choices
    return str(choices.algorithm), str(choices.dataset)
