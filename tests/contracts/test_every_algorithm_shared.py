"""Processes that share a batch of tasks get the result of one process, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shared_steps import Case, all_steps

from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError
from mamlbench.hardware.processes import launch
from mamlbench.learn2learn_import import learn2learn

INNER_SGD = (("inner_optimizer", "sgd"),)  # for the inner loop's Adam the same holds as in SHARED
OTHERS = [
    Case("maml", "classification", norm="running"),
    Case("maml", "regression", replay=True, sizes=(5, 5, 5, 5)),
    Case("maml", "policy"),
    Case("maml", "policy", (("outer_optimizer", "trpo"),)),
    Case("platipus", "regression", seeds=False),
    Case("reptile", "regression", (("moments", "fresh"),)),
    Case("reptile", "policy"),
]


def cases() -> list[Case]:
    try:
        learn2learn()
        missing = set()
    except UserError:
        missing = {"learn2learn_maml"}
    found = []
    for algorithm in ConfigTree().choices("algorithm"):
        if algorithm not in missing:
            options = INNER_SGD if algorithm == "reptile" else ()
            found += [
                Case(algorithm, "regression"),
                Case(algorithm, "classification", options),
            ]
    return found + OTHERS


@pytest.fixture(scope="module")
def alone() -> dict[Case, dict[str, np.ndarray]]:
    return dict(zip(cases(), all_steps(cases()), strict=True))


@pytest.mark.parametrize("processes", [2, 3])
def test_the_result_is_that_of_one_process(processes: int, alone: dict[Case, Any]) -> None:
    shared = launch(processes, all_steps, list(alone))
    for (case, expected), found in zip(alone.items(), shared, strict=True):
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(
                found[name], values, rtol=1e-9, atol=1e-11, err_msg=f"{case}: {name}"
            )
