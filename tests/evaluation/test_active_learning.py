"""Active learning with learners whose uncertainty is known, against loops over tasks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mamlbench.algorithms import MAML, MetaLearner
from mamlbench.algorithms.adapted import Adapted
from mamlbench.datasets import Glyphs, Sinusoid
from mamlbench.errors import BadValue
from mamlbench.estimate import Estimate
from mamlbench.evaluation import TEST_SEED, Protocol, active_learning
from mamlbench.evaluation.active_learning import active_sizes, with_pool
from mamlbench.hardware.device import Hardware
from mamlbench.networks import MLP, Conv4
from mamlbench.objectives import Regression
from mamlbench.tasks import Examples, TaskBatch

DATASET = Sinusoid(shots=2, queries=3)
PROTOCOL = Protocol(tasks=5, queries=6, active_rounds=3, active_pool=4)
F64 = Hardware(precision="float64")


class Nearest(MetaLearner):
    """Two particles: the nearest support target, plus and minus the distance to it.

    Their variance is the squared distance, so the most uncertain point is the farthest one.
    """

    particles = 2

    def __init__(self) -> None:
        super().__init__(MLP((1,), 1, hidden=(2,)), Regression())

    def adapt(self, support, steps=None):
        return Adapted([{"x": support.x, "y": support.y}], support, 2)

    def predict(self, adapted, x, step=-1, transductive=True):
        distance, nearest = (x - adapted.params[0]["x"].transpose(1, 2)).abs().min(dim=2)
        y = adapted.params[0]["y"].squeeze(2).gather(1, nearest)
        return torch.stack([y + distance, y - distance], dim=1).unsqueeze(-1)


def batch(support, query):
    """One task of a function of one variable, from lists of x; y is 10 x."""
    sides = (torch.tensor(x).reshape(1, -1, 1) for x in (support, query))
    return TaskBatch(*(Examples(x, 10 * x, np.array([7])) for x in sides))


class Fixed(Sinusoid):
    """One task: support at 0, pool and queries at 1, 2, 4, 8, -3 and -7."""

    def sample(self, split, seed, first, count, shots=None, queries=None):
        return batch([0.0], [1.0, 2.0, 4.0, 8.0, -3.0, -7.0])


def test_the_farthest_points_by_hand():
    """The pool is all points except one query: 8 comes first, then -7, if they are in the pool."""
    dataset, protocol = Fixed(shots=1), Protocol(tasks=1, queries=1, active_pool=5, active_rounds=3)
    found = active_learning(Nearest(), dataset, protocol, Hardware())
    _, pool, query = with_pool(dataset.sample("test", 0, 0, 1), 5)
    xs = pool.x.flatten().tolist()
    assert sorted([*xs, *query.x.flatten().tolist()]) == [-7.0, -3.0, 1.0, 2.0, 4.0, 8.0]
    asked = [xs[i] for i in found.points["uncertainty"][:, 0]]
    farthest = [x for x in (8.0, -7.0) if x in xs]
    assert asked[: len(farthest)] == farthest
    assert [xs[i] for i in found.points["random"][:, 0]] == xs[:3]
    error = (10 * query.x.item() - 0.0) ** 2  # before any label, the prediction is the target at 0
    assert found.by_task["uncertainty"]["mse"][0, 0] == error
    assert found.by_task["random"]["mse"][0, 0] == error


def loop(task, pool, query, strategy, rounds=3):
    """One task in plain numbers: errors after each label, and the points asked for."""
    known = list(zip(task.x.flatten().tolist(), task.y.flatten().tolist(), strict=True))
    points = list(zip(pool.x.flatten().tolist(), pool.y.flatten().tolist(), strict=True))
    tests = list(zip(query.x.flatten().tolist(), query.y.flatten().tolist(), strict=True))
    left, asked, errors = list(range(len(points))), [], []
    for label in range(rounds + 1):
        gaps = [y - min(known, key=lambda p: abs(p[0] - x))[1] for x, y in tests]
        errors.append(sum(gap**2 for gap in gaps) / len(gaps))
        if label == rounds:
            return errors, asked
        distance = {i: min(abs(points[i][0] - x) for x, _ in known) for i in left}
        asked.append(max(left, key=distance.get) if strategy == "uncertainty" else left[0])
        left.remove(asked[-1])
        known.append(points[asked[-1]])


@pytest.mark.parametrize("strategy", ["uncertainty", "random"])
def test_a_loop_over_tasks_asks_for_the_same(strategy):
    found = active_learning(Nearest(), DATASET, PROTOCOL, F64)
    tasks = F64.cast(DATASET.sample("test", TEST_SEED, 0, 5, 2, 6 + 4))
    support, pool, query = with_pool(tasks, 4)
    for task in range(5):
        one = slice(task, task + 1)
        errors, asked = loop(support[one], pool[one], query[one], strategy)
        assert found.points[strategy][:, task].tolist() == asked
        assert found.by_task[strategy]["mse"][:, task] == pytest.approx(errors, rel=1e-12)


def test_chunks_and_repetition_do_not_matter():
    whole, again, parts = (
        active_learning(Nearest(), DATASET, PROTOCOL, Hardware("cpu", "float64", task_chunk=chunk))
        for chunk in (None, None, 2)
    )
    for strategy in ("uncertainty", "random"):
        for other in (again, parts):
            np.testing.assert_array_equal(whole.points[strategy], other.points[strategy])
            mse = other.by_task[strategy]["mse"]
            np.testing.assert_allclose(whole.by_task[strategy]["mse"], mse, rtol=1e-12)


def test_the_pool_is_each_tasks_own_and_apart_from_the_queries():
    tasks = DATASET.sample("test", TEST_SEED, 0, 50, 2, 10)
    _, pool, query = with_pool(tasks, 4)
    together = torch.cat([pool.x, query.x], dim=1).sort(dim=1).values
    assert torch.equal(together, tasks.query.x.sort(dim=1).values)
    assert torch.equal(query.y, own_targets(tasks, query))
    assert torch.equal(pool.y, own_targets(tasks, pool))
    first = (tasks.query.x == pool.x[:, :1]).squeeze(2).int().argmax(dim=1)
    assert len(first.unique()) > 5  # not the same place in every task


def own_targets(tasks, part):
    """The targets of the examples in `part`, looked up by their inputs."""
    places = (part.x == tasks.query.x.transpose(1, 2)).int().argmax(dim=2)
    return tasks.query.y.gather(1, places.unsqueeze(2))


def test_summary_and_rows_by_hand():
    found = active_learning(Nearest(), DATASET, PROTOCOL, F64)
    summary, rows = found.summary(), found.rows()
    assert summary["criterion"] == "variance of the predictions"
    assert [list(entry) for entry in summary["curve"]] == [
        ["uncertainty", "random", "difference"]
    ] * 4
    unsure, random = (found.by_task[s]["mse"] for s in ("uncertainty", "random"))
    for label, entry in enumerate(summary["curve"]):
        assert entry["random"]["mse"] == Estimate.of(random[label]).as_dict()
        paired = Estimate.of(unsure[label] - random[label]).as_dict()
        assert entry["difference"]["mse"] == paired
    assert summary["curve"][0]["difference"]["mse"] == {"mean": 0.0, "ci95": 0.0, "n_tasks": 5}
    head = ["task", "strategy", "queried", "point", "loss", "mse", "mse_of_particles"]
    assert rows.columns.tolist() == head
    assert rows["task"].tolist() == [task for task in range(5) for _ in range(8)]
    assert rows["strategy"].tolist() == (["random"] * 4 + ["uncertainty"] * 4) * 5
    assert rows["queried"].tolist() == [0, 1, 2, 3] * 10
    third = rows[(rows["task"] == 3) & (rows["strategy"] == "uncertainty")]
    assert third["mse"].tolist() == unsure[:, 3].tolist()
    assert third["point"].tolist() == [-1, *found.points["uncertainty"][:, 3]]


def test_one_prediction_of_a_function_leaves_random_choice():
    torch.manual_seed(0)
    learner = MAML(MLP((1,), 1, hidden=(6,)), Regression(), inner_lr=0.05).double()
    before = copy.deepcopy(learner.state_dict())
    found = active_learning(learner, DATASET, PROTOCOL, F64)
    assert found.by_task.keys() == {"random"}
    assert found.summary()["criterion"] is None
    assert found.summary()["curve"][0].keys() == {"random"}
    assert learner.training
    assert all(torch.equal(v, before[n]) for n, v in learner.state_dict().items())
    # after one label, the learner adapts anew, to the support set and the pool's first point
    tasks = F64.cast(DATASET.sample("test", TEST_SEED, 0, 5, 2, 10))
    support, pool, query = with_pool(tasks, 4)
    larger = support.together(Examples(pool.x[:, :1], pool.y[:, :1]))
    adapted = learner.adapt(larger)
    mse = Regression().metrics(learner.predict(adapted, query.x), query.y)["mse"].detach()
    np.testing.assert_allclose(found.by_task["random"]["mse"][1], mse, rtol=1e-12)


def test_a_classifier_asks_by_entropy():
    dataset = Glyphs(ways=3, shots=1, queries=1)
    dataset.load(torch.device("cpu"))
    torch.manual_seed(0)
    learner = MAML(Conv4(dataset.input_shape, 3, filters=2), dataset.objective, inner_lr=0.5)
    protocol = Protocol(tasks=4, queries=3, active_rounds=2, active_pool=5)
    found = active_learning(learner, dataset, protocol, Hardware(task_chunk=4))
    support, pool, query = with_pool(dataset.sample("test", TEST_SEED, 0, 4, 1, 5), 5)
    assert query.y.shape == (4, 3 * 5 - 5)
    learner.eval()
    outputs = learner.predict(learner.adapt(support), pool.x).detach()[:, 0]
    entropy = torch.distributions.Categorical(logits=outputs).entropy()
    assert found.points["uncertainty"][0].tolist() == entropy.argmax(dim=1).tolist()
    assert {"accuracy", "nll", "brier"} <= found.by_task["uncertainty"].keys()
    for points in found.points.values():
        assert all(len(set(asked)) == 2 for asked in points.T.tolist())  # none twice


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active_pool": 3, "active_rounds": 4}, "active_rounds=4: accepted is 0 to 3"),
        (
            {"active_pool": 60},
            r"active_pool=60: accepted is fewer: with the pool, a class needs 22 queries, but "
            r"accepted is .*a class of test has 20 images",
        ),
        ({"queries": "remaining", "active_pool": 57}, "active_pool=57: accepted is 1 to 56"),
    ],
)
def test_a_pool_that_cannot_be(options, message):
    dataset = Glyphs(ways=3, shots=1, queries=1)
    dataset.load(torch.device("cpu"))
    protocol = Protocol(**{"queries": 2, "active_rounds": 1, **options})
    with pytest.raises(BadValue, match=message):
        active_sizes(dataset, protocol)


def test_all_that_remain_are_shared_by_pool_and_queries():
    dataset = Glyphs(ways=3, shots=1, queries=1)
    dataset.load(torch.device("cpu"))
    protocol = Protocol(queries="remaining", active_rounds=1, active_pool=10)
    assert active_sizes(dataset, protocol) == (1, 19)
