"""What makes two runs the same: not their length, seed, place or age."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mamlbench.compose import values
from mamlbench.identity import differences, identity
from mamlbench.tables import TableRun

REFERENCE = Path(__file__).parents[1] / "outputs" / "reference"


@pytest.fixture(scope="module")
def config():
    return values(["experiment=maml/sinusoid"])


def changed(config: dict, key: str, value: object) -> dict:
    group, _, option = key.partition(".")
    return {**config, group: {**config[group], option: value} if option else value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 7),
        ("name", "mine"),
        ("training.iterations", 12),
        ("training.log_every", 1),
        ("training.validate_every", 3),
        ("evaluation.tasks", 20),
        ("hardware.device", "cuda"),
        ("logger", {}),
        ("about", {"command": "mamlbench"}),
        ("dataset.amplitude", [0.1, 5]),
    ],
)
def test_the_same(config, key, value):
    assert identity(changed(config, key, value)) == identity(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.meta_batch_size", 24),
        ("algorithm.inner_lr", 0.02),
        ("evaluation.shots", 10),
        ("evaluation.transductive", False),
        ("hardware.precision", "bf16"),
        ("checkpoint", "outputs/some/run"),
        ("warm_start", "outputs/some/run"),
    ],
)
def test_not_the_same(config, key, value):
    assert identity(changed(config, key, value)) != identity(config)


def test_written_before_an_option_was_there(config):
    older = {k: dict(v) if isinstance(v, dict) else v for k, v in config.items()}
    del older["dataset"]["oracle"], older["evaluation"]["active_rounds"]
    assert identity(older) == identity(config)
    told = changed(config, "dataset.oracle", True)
    assert identity(told) != identity(older)


def test_of_whichever_checkpoint(config):
    one, two = (changed(config, "checkpoint", place) for place in ("a/seed0", "b/seed1/best.pt"))
    assert identity(one) == identity(two)


def test_differences(config):
    other = changed(changed(config, "algorithm.inner_lr", 0.02), "seed", 3)
    assert differences(config, other) == {"algorithm.inner_lr": (0.01, 0.02)}


@pytest.mark.parametrize(
    ("kept", "run"),
    [
        ("maml_sinusoid", TableRun("maml/sinusoid")),
        ("maml_omniglot_5way1shot_4000", TableRun("maml/omniglot_5way1shot")),
        ("reptile_omniglot_5way1shot_10000", TableRun("reptile/omniglot_5way1shot")),
        (
            "reptile_omniglot_5way1shot_10000_transductive",
            TableRun("reptile/omniglot_5way1shot", (), ("evaluation.transductive=true",)),
        ),
    ],
)
def test_results_that_are_kept_are_found(kept, run):
    path = REFERENCE / kept / "config.yaml"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    assert identity(yaml.safe_load(path.read_text())) == run.identity
