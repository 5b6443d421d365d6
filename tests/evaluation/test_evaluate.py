"""Scores of a learner against an explicit loop over tasks."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mamlbench.algorithms import MAML, Reptile
from mamlbench.algorithms.adapted import Adapted
from mamlbench.datasets import Glyphs, Sinusoid
from mamlbench.evaluation import TEST_SEED, Protocol, Scores, evaluate
from mamlbench.evaluation.calibration import Reliability
from mamlbench.evaluation.evaluate import tasks_at_a_time
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP, Conv4
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
        evaluate(
            learner, DATASET, "val", PROTOCOL, Hardware("cpu", "float64", task_chunk=chunk), tasks=n
        )
        for chunk, n in ((None, None), (2, None), (None, 3))
    )
    for name, values in whole.by_task.items():
        np.testing.assert_allclose(parts.by_task[name], values, rtol=1e-12)
        np.testing.assert_allclose(first.by_task[name], values[:, :3], rtol=1e-12)


def test_what_is_told_of_a_test(learner):
    told = []
    hardware = Hardware("cpu", "float64", task_chunk=3)
    evaluate(
        learner, DATASET, "test", PROTOCOL, hardware, tell=lambda *told_of: told.append(told_of)
    )
    assert told == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_last_step_alone(learner):
    hardware = Hardware(precision="float64")
    every = evaluate(learner, DATASET, "test", PROTOCOL, hardware)
    last = evaluate(learner, DATASET, "test", PROTOCOL, hardware, every_step=False)
    assert last.by_task["mse"].shape == (1, 7)
    assert every.by_task["mse"].shape == (4, 7)
    np.testing.assert_array_equal(last.by_task["mse"][0], every.by_task["mse"][-1])
    assert last.last() == every.last()


@pytest.mark.parametrize(("every", "steps"), [(2, (0, 2, 3)), (3, (0, 3)), (9, (0, 3))])
def test_every_nth_step(learner, every, steps):
    hardware = Hardware(precision="float64")
    whole = evaluate(learner, DATASET, "test", PROTOCOL, hardware)
    some = evaluate(learner, DATASET, "test", replace(PROTOCOL, score_every=every), hardware)
    assert (whole.steps, some.steps) == ((0, 1, 2, 3), steps)
    np.testing.assert_array_equal(some.by_task["mse"], whole.by_task["mse"][list(steps)])
    expected = [found if s in steps else None for s, found in enumerate(whole.by_step())]
    assert some.by_step() == expected
    assert sorted(set(some.rows()["step"])) == list(steps)
    assert some.last() == whole.last()


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
    scores = Scores({"loss": mse * 2, "mse": mse}, (0, 1, 2))
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
    sparse = Scores({"mse": mse}, (0, 2, 3))
    assert sparse.rows()["step"].tolist() == [0, 2, 3, 0, 2, 3]
    assert [entry and entry["mse"]["mean"] for entry in sparse.by_step()] == [3.0, None, 2.0, 0.25]


def glyphs_and_learner():
    dataset = Glyphs(ways=3, shots=1, queries=1)
    dataset.load(torch.device("cpu"))
    torch.manual_seed(0)
    network = Conv4(dataset.input_shape, 3, filters=2)
    return dataset, MAML(network, dataset.objective, inner_lr=0.5)


def test_a_classifiers_scores_in_full_and_in_chunks():
    dataset, learner = glyphs_and_learner()
    protocol = Protocol(tasks=5, queries=4, inner_steps=2)
    whole, parts = (
        evaluate(learner, dataset, "test", protocol, Hardware("cpu", "float32", task_chunk=chunk))
        for chunk in (None, 2)
    )
    assert whole.by_task.keys() == {"loss", "accuracy", "nll", "brier"}
    assert whole.reliability.bins.shape == (3, 5, 15, 3)
    np.testing.assert_array_equal(whole.reliability.bins[..., 0].sum(axis=-1), 12)
    right = whole.reliability.bins[..., 2].sum(axis=-1) / 12
    np.testing.assert_allclose(right, whole.by_task["accuracy"], rtol=1e-6)
    np.testing.assert_allclose(parts.reliability.bins, whole.reliability.bins, rtol=1e-4)
    by_step = whole.by_step()
    assert [entry["ece"]["n_tasks"] for entry in by_step] == [5, 5, 5]
    errors = whole.reliability.errors()
    assert [entry["ece"]["mean"] for entry in by_step] == [error.mean for error in errors]
    assert "ece" not in whole.rows()


def test_what_training_logs_is_all_of_a_validation():
    dataset, learner = glyphs_and_learner()
    protocol = Protocol(tasks=2, queries=1, inner_steps=1)
    light = evaluate(learner, dataset, "val", protocol, Hardware(), in_full=False)
    assert light.by_task.keys() == {"loss", "accuracy"}
    assert light.reliability is None


class Shifted(MAML):
    """P copies of the adapted parameters whose outputs are shifted by 0, 1, ..., P-1."""

    particles = 3

    def adapt(self, support, steps=None):
        adapted = super().adapt(support, steps)
        own = [{n: p.repeat_interleave(3, 0) for n, p in e.items()} for e in adapted.params]
        shift = torch.arange(3.0).repeat(len(support)).view(-1, 1)
        moved = [e | {"head.bias": e["head.bias"] + shift.to(e["head.bias"])} for e in own]
        return Adapted(moved, adapted.support, 3)


def test_particles_are_scored_together_and_each_by_itself():
    torch.manual_seed(0)
    dataset = Sinusoid(shots=5, queries=3, likelihood_std=0.5)
    learner = Shifted(MLP((1,), 1, hidden=(6,)), dataset.objective, inner_lr=0.05).double()
    hardware = Hardware(precision="float64")
    scores = evaluate(learner, dataset, "test", PROTOCOL, hardware)
    assert scores.by_task.keys() == {"loss", "mse", "mse_of_particles", "nll"}
    # the particles are their mean plus -1, 0 and 1, which adds 2/3 to its error at every step
    excess = scores.by_task["mse_of_particles"] - scores.by_task["mse"]
    np.testing.assert_allclose(excess, 2 / 3, rtol=1e-10)


def test_memory_bounds_the_tasks_at_a_time(learner):
    """5 support and 4 query points of one value; 6 + 6 + 6 + 1 weights after 0 to 3 steps."""

    def chunk(hardware=Hardware(), **options):  # noqa: B008 -- it is frozen
        protocol = Protocol(**{"tasks": 10**9, "queries": 4, "inner_steps": 3, **options})
        return tasks_at_a_time(learner, DATASET, protocol, hardware, 5, 4)

    assert chunk() == 5_000_000 // 9
    learner.particles = 10
    assert chunk() == 5_000_000 // 90
    assert chunk(inner_steps=999) == 2**26 // (19 * 1000 * 10)
    assert chunk(hardware=Hardware(task_chunk=7), inner_steps=999) == 7
    assert chunk(inner_steps=10**9) == 1


def test_scores_of_parts_keep_their_order():
    bins = np.arange(2 * 3 * 15 * 3, dtype=float).reshape(2, 3, 15, 3)
    values = np.arange(6.0).reshape(2, 3)
    whole = Scores({"loss": values}, (0, 5), Reliability(bins))
    parts = [
        Scores({"loss": values[:, s]}, (0, 5), Reliability(bins[:, s]))
        for s in (slice(0, 2), slice(2, 3))
    ]
    joined = Scores.of_parts(parts)
    np.testing.assert_array_equal(joined.by_task["loss"], whole.by_task["loss"])
    np.testing.assert_array_equal(joined.reliability.bins, bins)
    assert joined.steps == (0, 5)
    assert Scores.of_parts([Scores({"loss": values}, (0, 5))]).reliability is None
