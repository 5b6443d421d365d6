"""An ensemble of learners against each learner alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mamlbench.algorithms import MAML, MAMLpp
from mamlbench.datasets import Glyphs
from mamlbench.evaluation import TEST_SEED, Ensemble, Protocol, evaluate
from mamlbench.hardware.device import Hardware
from mamlbench.networks import Conv4
from mamlbench.objectives import Classification

PROTOCOL = Protocol(tasks=5, queries=3, inner_steps=2)


@pytest.fixture(scope="module")
def dataset():
    dataset = Glyphs(ways=3)
    dataset.load(torch.device("cpu"))
    return dataset


@pytest.mark.parametrize("cls", [MAML, MAMLpp])
@pytest.mark.parametrize("chunk", [None, 2])
def test_logits_are_averaged_and_each_member_adapts_by_itself(dataset, cls, chunk):
    torch.manual_seed(0)
    members = [
        cls(Conv4((1, 28, 28), 3, filters=4), Classification(), inner_lr=0.3, inner_steps=2)
        for _ in range(3)
    ]
    scores = evaluate(
        Ensemble(members), dataset, "test", PROTOCOL, Hardware("cpu", "float32", task_chunk=chunk)
    )
    tasks = dataset.sample("test", TEST_SEED, 0, 5, 1, 3)
    with torch.no_grad():
        for step in range(3):
            logits = torch.zeros(5, 9, 3)
            for member in members:
                adapted = member.adapt(tasks.support, 2)
                logits += member.predict(adapted, tasks.query.x, step)[:, 0] / 3
            right = (logits.argmax(-1) == tasks.query.y).float().mean(1)
            np.testing.assert_allclose(scores.by_task["accuracy"][step], right, atol=1e-6)
            for task in range(5):
                nll = torch.nn.functional.cross_entropy(logits[task], tasks.query.y[task])
                assert scores.by_task["loss"][step, task] == pytest.approx(float(nll), rel=1e-4)


def test_an_ensemble_of_one_is_its_member(dataset):
    torch.manual_seed(0)
    member = MAML(Conv4((1, 28, 28), 3, filters=4), Classification(), inner_lr=0.3)
    alone, together = (
        evaluate(learner, dataset, "test", PROTOCOL, Hardware())
        for learner in (member, Ensemble([member]))
    )
    for name, values in alone.by_task.items():
        np.testing.assert_array_equal(together.by_task[name], values)
