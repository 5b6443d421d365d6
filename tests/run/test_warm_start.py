"""Starting with another run's network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import runs
import torch

from mamlbench.compose import experiment
from mamlbench.config.tree import ConfigTree
from mamlbench.datasets import Sinusoid
from mamlbench.errors import UserError
from mamlbench.run.begin_from import warm_start
from mamlbench.run.made_by import with_overrides_of_checkpoint

TINY = [
    "network.hidden=[8]",
    "training.meta_batch_size=3",
    "training.iterations=4",
    "evaluation.tasks=8",
    "evaluation.validation_tasks=4",
    "evaluation.queries=5",
    "logger=csv",
    "hardware.threads=1",
]


@pytest.fixture(scope="module", autouse=True)
def _no_figures():
    with runs.without_figures():
        yield


@pytest.fixture(scope="module")
def maml(tmp_path_factory) -> Path:
    """A finished run of MAML."""
    run = experiment(
        [f"outputs={tmp_path_factory.mktemp('maml')}", "dataset=sine_line", *TINY, "seed=5"]
    )
    run.run()
    return run.folder.path


def platipus(outputs: Path, *more: str) -> list[str]:
    return [f"outputs={outputs}", "algorithm=platipus", "dataset=sine_line", *TINY, *more]


def network_of(state: dict) -> dict:
    return {name: value for name, value in state.items() if name.startswith("network.")}


def test_the_network_is_the_other_runs_and_all_else_its_own(tmp_path: Path, maml: Path) -> None:
    expected = network_of(torch.load(maml / "checkpoint.pt", weights_only=True)["learner"])
    cold = experiment(platipus(tmp_path)).learner.state_dict()
    warm = experiment(platipus(tmp_path, f"warm_start={maml}")).learner.state_dict()
    assert len(expected) == 4
    for name, value in warm.items():
        assert torch.equal(value, expected.get(name, cold[name])), name


@pytest.mark.parametrize("algorithm", ConfigTree().choices("algorithm"))
def test_every_algorithm_begins_from_it_or_says_that_it_cannot(tmp_path: Path, algorithm: str):
    relu = "network.activation=relu"  # Reptile's paper uses tanh
    from_maml = experiment(runs.overrides(tmp_path, "maml", "sinusoid", relu)).learner
    with torch.no_grad():
        for parameter in from_maml.parameters():
            parameter += 7.0
    learner = runs.begun(runs.overrides(tmp_path, algorithm, "sinusoid", relu)).learner
    try:
        warm_start(learner, {"learner": from_maml.state_dict()}, tmp_path)
    except UserError as error:
        own = str(error).removesuffix(" instead").split()[-1]
        assert any(name.startswith(f"{own}.") for name in learner.state_dict())
        with pytest.raises(UserError, match=f"the checkpoint's learner starts from {own} instead"):
            warm_start(from_maml, {"learner": learner.state_dict()}, tmp_path)
        return
    if algorithm == "platipus":
        return  # it samples around the network; the first test covers it
    tasks = Sinusoid(shots=3).sample("test", 0, 0, 2)
    expected = from_maml.predict(from_maml.adapt(tasks.support, 0), tasks.query.x)
    found = learner.predict(learner.adapt(tasks.support, 0), tasks.query.x)
    torch.testing.assert_close(found, expected.expand_as(found))


def test_a_run_goes_on_from_it_and_resumes_from_itself(tmp_path: Path, maml: Path) -> None:
    arguments = [*platipus(tmp_path, f"warm_start={maml}"), "training.checkpoint_every=2"]
    whole = experiment(arguments)
    whole.run()
    expected = runs.result(whole.folder.path)

    again = experiment([*arguments, f"outputs={tmp_path / 'again'}"])
    half = again.learner.meta_step
    steps = []

    def two_only(tasks: object) -> object:
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(1)
        return half(tasks)

    again.learner.meta_step = two_only
    with pytest.raises(KeyboardInterrupt):
        again.run()
    rest = experiment([*arguments, f"outputs={tmp_path / 'again'}"])
    rest.run()
    found = runs.result(rest.folder.path)
    assert found["parameters"] == expected["parameters"]
    assert found["metrics"] == expected["metrics"]


def test_the_result_is_known_by_what_is_in_the_file(tmp_path: Path, maml: Path) -> None:
    copy = tmp_path / "copy.pt"
    shutil.copy(maml / "checkpoint.pt", copy)
    cold, there, copied = (
        experiment(platipus(tmp_path, *more)).name.hash
        for more in ([], [f"warm_start={maml}/checkpoint.pt"], [f"warm_start={copy}"])
    )
    assert there == copied != cold


def test_without_it_earlier_runs_keep_their_folders() -> None:
    from mamlbench.config.config_hash import config_hash

    composed = experiment(["logger=csv"]).config
    before = {key: value for key, value in composed.items() if key != "warm_start"}
    assert config_hash(composed) == config_hash(before)


def test_a_test_of_the_trained_needs_no_warm_start_any_more(tmp_path: Path, maml: Path) -> None:
    run = experiment(platipus(tmp_path, f"warm_start={maml}"))
    run.run()
    arguments = with_overrides_of_checkpoint([f"checkpoint={run.folder.path}"])
    assert not any(argument.startswith("warm_start") for argument in arguments)
    tested = experiment([*arguments, f"outputs={tmp_path}", "logger=csv"])
    expected = json.loads((run.folder.path / "summary.json").read_text())
    assert tested.run()["test"] == expected["test"]


def test_mistakes_are_one_line_that_names_the_option(tmp_path: Path, maml: Path) -> None:
    junk = tmp_path / "junk.pt"
    junk.write_text("no checkpoint")
    for more, message in (
        (["warm_start=nowhere"], r"^warm_start=nowhere: nothing there; accepted is .*"),
        ([f"warm_start={tmp_path}"], r"^warm_start=.*: a folder without best\.pt"),
        ([f"warm_start={junk}"], r"^warm_start=.*junk\.pt: not a mamlbench checkpoint; accepted "),
        (
            [f"warm_start={maml}", "network.hidden=[9]"],
            r"^warm_start=.*: has another architecture: it has network\.hidden\.0\.weight of "
            r"shape \[8, 1\], this config's learner \[9, 1\]$",
        ),
        (
            [f"warm_start={maml}", f"checkpoint={maml}"],
            r"^warm_start=.*: accepted is null, because checkpoint names what to test$",
        ),
    ):
        with pytest.raises(UserError, match=message):
            experiment(platipus(tmp_path, *more))
