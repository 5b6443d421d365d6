"""Scores of a learner against a loop over tasks written out."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mamlbench.algorithms import MAML, Reptile
from mamlbench.datasets import Sinusoid
from mamlbench.evaluation import TEST_SEED, Protocol, Scores, evaluate
from mamlbench.hardware import Hardware
from mamlbench.networks import MLP
from mamlbench.objectives import Regression

DATASET = Sinusoid(shots=5, queries=3)
PROTOCOL = Protocol(tasks=7, queries=4, inner_steps=3)


@pytest.fixture
def learner():
    torch.manual_seed(0)
    return MAML(MLP((1,), 1, hidden=(6,)), Regression(), inner_lr=0.05).double()


def test_scores_are_those_of_a_loop_over_tasks(learner):
    scores = evaluate(learner, DATASET, "test", PROTOCOL, Hardware(precision="float64"))
    tasks = DATASET.sample("test", TEST_SEED, 0, 7, shots=5, queries=4)
    assert scores.by_task.keys() == {"loss", "mse"}
    for task in range(7):
        plain = copy.deepcopy(learner.network)
        x, y = tasks.support.x[task].double(), tasks.support.y[task].double()
        for step in range(4):
            layers = [plain.hidden[0], plain.head]
            params = [p for layer in layers for p in (layer.weight, layer.bias)]

            def outputs(inputs, params=params):
                return F.linear(F.relu(F.linear(inputs, *params[:2])), *params[2:])

            query = outputs(tasks.query.x[task].double())
            mse = F.mse_loss(query, tasks.query.y[task].double()).item()
            assert scores.by_task["mse"][step, task] == pytest.approx(mse, rel=1e-12)
            gradient = torch.autograd.grad(F.mse_loss(outputs(x), y), params)
            with torch.no_grad():
                for p, g in zip(params, gradient, strict=True):
                    p -= 0.05 * g


def test_chunks_do_not_matter(learner):
    whole, parts, first = (
        evaluate(learner, DATASET, "val", PROTOCOL, Hardware("cpu", "float64", chunk), tasks=n)
        for chunk, n in ((None, None), (2, None), (None, 3))
    )
    for name, values in whole.by_task.items():
        np.testing.assert_allclose(parts.by_task[name], values, rtol=1e-12)
        np.testing.assert_allclose(first.by_task[name], values[:, :3], rtol=1e-12)


def test_last_step_alone(learner):
    hardware = Hardware(precision="float64")
    every = evaluate(learner, DATASET, "test", PROTOCOL, hardware)
    last = evaluate(learner, DATASET, "test", PROTOCOL, hardware, every_step=False)
    assert last.by_task["mse"].shape == (1, 7)
    assert every.by_task["mse"].shape == (4, 7)
    np.testing.assert_array_equal(last.by_task["mse"][0], every.by_task["mse"][-1])
    assert last.last() == every.last()


@pytest.mark.parametrize("training", [True, False])
def test_the_learner_is_left_as_it_was(training):
    torch.manual_seed(0)
    learner = Reptile(MLP((1,), 1, norm="running"), Regression(), inner_steps=2)
    learner.meta_step(DATASET.sample("train", 0, 0, 2))
    learner.train(training)
    before = copy.deepcopy(learner.state_dict())
    evaluate(learner, DATASET, "test", PROTOCOL, Hardware())
    assert learner.training is training
    after = learner.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) if torch.is_tensor(value) else value == after[name]
    broken = Protocol(queries="remaining")
    with pytest.raises(Exception, match="remaining"):
        evaluate(learner, DATASET, "test", broken, Hardware())
    assert learner.training is training


def test_rows_and_steps_by_hand():
    mse = np.array([[4.0, 2.0], [1.0, 3.0], [0.0, 0.5]])  # [S+1, T]
    scores = Scores({"loss": mse * 2, "mse": mse})
    rows = scores.rows()
    assert rows.columns.tolist() == ["task", "step", "loss", "mse"]
    assert rows["task"].tolist() == [0, 0, 0, 1, 1, 1]
    assert rows["step"].tolist() == [0, 1, 2, 0, 1, 2]
    assert rows["mse"].tolist() == [4.0, 1.0, 0.0, 2.0, 3.0, 0.5]
    by_step = scores.by_step()
    assert [entry["mse"]["mean"] for entry in by_step] == [3.0, 2.0, 0.25]
    assert by_step[1]["loss"]["mean"] == 4.0
    assert by_step[0]["mse"]["n_tasks"] == 2
    assert scores.last()["mse"].mean == 0.25
