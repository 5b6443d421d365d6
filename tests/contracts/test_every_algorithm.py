"""What holds for every algorithm that has a config, on regression and classification."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import pytest
import torch
from registered import ITERATIONS

from mamlbench.algorithms import NonFiniteError
from mamlbench.config.tree import ConfigTree
from mamlbench.errors import BadValue
from mamlbench.tasks import Examples, TaskBatch

pytestmark = pytest.mark.parametrize("algorithm", ConfigTree().choices("algorithm"))
# Adam divides gradients that are only rounding (biases before batch norm) by its epsilon
CLOSE = {"rtol": 1e-8, "atol": 1e-8}


def state(learner) -> dict:
    parts = learner.state_dict(), learner.optimizer.state_dict(), learner.scheduler.state_dict()
    return copy.deepcopy(dict(zip(("learner", "optimizer", "scheduler"), parts, strict=True)))


def in_bytes(values: dict) -> bytes:
    file = io.BytesIO()
    torch.save(values, file)
    return file.getvalue()


def query_loss(learner, tasks) -> float:
    with torch.no_grad():
        outputs = learner.predict(learner.adapt(tasks.support), tasks.query.x)
        return float(learner.objective.metrics(outputs, tasks.query.y)["loss"].mean())


def test_learns(problem, algorithm):
    learner, tasks = problem.learner(algorithm), problem.tasks()
    before = query_loss(learner, tasks)
    for _ in range(ITERATIONS):
        metrics = learner.meta_step(tasks)
    assert metrics["loss"].shape == (3,)
    assert query_loss(learner, tasks) < 0.9 * before


def test_empty_query_sets_are_refused_or_not_needed(problem, algorithm):
    learner, tasks = problem.learner(algorithm), problem.tasks()
    empty = replace(tasks, query=Examples(tasks.query.x[:, :0], tasks.query.y[:, :0]))
    if learner.needs_queries:
        with pytest.raises(BadValue, match=r"^dataset\.queries=0: accepted is 1 or more"):
            learner.meta_step(empty)
    else:
        assert torch.isfinite(learner.meta_step(empty)["loss"]).all()


@pytest.mark.parametrize("replayed", [False, True])
def test_frozen_parameters_are_neither_learned_nor_adapted(problem, algorithm, replayed):
    learner, tasks = problem.learner(algorithm, frozen=True), problem.tasks()
    frozen = {n: p for n, p in learner.network.named_parameters() if not p.requires_grad}
    if hasattr(learner, "generated"):
        pytest.skip("generates the network's parameters")
    if replayed and not learner.replay():
        pytest.skip("is not replayed")
    if not frozen:
        pytest.skip("makes a first layer of its own")
    before = {name: value.clone() for name, value in frozen.items()}
    for _ in range(4):
        learner.meta_step(tasks)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support).params[-1]
    for name, value in before.items():
        assert torch.equal(frozen[name], value)
        assert torch.equal(adapted[name], value.expand_as(adapted[name]))


def test_adapting_moves_towards_the_task_and_changes_nothing_else(problem, algorithm):
    learner, tasks = problem.learner(algorithm, inner_lr=0.02), problem.tasks()
    learner.meta_step(tasks)
    before, random = in_bytes(state(learner)), torch.get_rng_state()
    for training in (True, False):
        learner.train(training)
        adapted = learner.adapt(tasks.support, 5)
        assert len(adapted.params) == 6
        outputs = [learner.predict(adapted, tasks.support.x, step) for step in (0, -1)]
        losses = [learner.objective.metrics(o, tasks.support.y)["loss"] for o in outputs]
        assert (losses[1] < losses[0]).all()
    learner.train()
    assert in_bytes(state(learner)) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_outputs_have_their_shapes(problem, algorithm):
    learner, tasks = problem.learner(algorithm), problem.tasks()
    outputs = learner.predict(learner.adapt(tasks.support, 0), tasks.query.x)
    assert outputs.shape[0] == 3
    assert outputs.shape[2:] == (6, 1 if problem.name == "regression" else 3)
    metrics = learner.objective.metrics(outputs, tasks.query.y)
    assert {"loss", learner.objective.metric} <= metrics.keys()
    assert all(values.shape == (3,) for values in metrics.values())


@pytest.mark.parametrize("seeded", [True, False])
def test_the_meta_gradient_is_the_same_in_chunks(problem, algorithm, seeded):
    learner, tasks = problem.learner(algorithm), problem.tasks()
    if not seeded:
        tasks = replace(tasks, support=replace(tasks.support, seeds=None))
    gradients = []
    for chunk in (1, 2, None):
        learner.task_chunk = chunk
        learner.meta_gradient(tasks)
        gradients.append([p.grad.clone() for p in learner.parameters() if p.grad is not None])
    for other in gradients[1:]:
        torch.testing.assert_close(gradients[0], other, **CLOSE)


def test_together_equals_one_at_a_time(problem, algorithm):
    learner, tasks = problem.learner(algorithm), problem.tasks()
    whole = learner.predict(learner.adapt(tasks.support, 3), tasks.query.x)
    for i in range(3):
        one = tasks[i : i + 1]
        alone = learner.predict(learner.adapt(one.support, 3), one.query.x)
        torch.testing.assert_close(whole[i : i + 1], alone, **CLOSE)


def test_a_loss_that_is_not_finite_changes_nothing(problem, algorithm):
    learner, tasks = problem.learner(algorithm), problem.tasks()
    learner.meta_step(tasks)
    before = in_bytes(state(learner))
    x = tasks.support.x.clone()
    x[2, 0] = float("inf")
    broken = TaskBatch(Examples(x, tasks.support.y, tasks.support.seeds), tasks.query)
    with pytest.raises(NonFiniteError) as error:
        learner.meta_step(broken)
    assert error.value.losses.shape == (3,)
    assert in_bytes(state(learner)) == before


def test_a_saved_learner_goes_on_as_if_nothing_had_been(problem, algorithm):
    """Two steps, a reload into a new learner and two more equal four steps, byte for byte."""
    batches = [problem.tasks(seed=seed) for seed in range(4)]
    first, second = problem.learner(algorithm), problem.learner(algorithm)
    for tasks in batches:
        first.meta_step(tasks)
    for tasks in batches[:2]:
        second.meta_step(tasks)
    saved = torch.load(io.BytesIO(in_bytes(state(second))), weights_only=True)
    second = problem.learner(algorithm)
    with torch.no_grad():
        for p in second.parameters():
            p.zero_()
    second.load_state_dict(saved["learner"])
    second.optimizer.load_state_dict(saved["optimizer"])
    second.scheduler.load_state_dict(saved["scheduler"])
    for tasks in batches[2:]:
        second.meta_step(tasks)
    found, expected = second.state_dict(), first.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        equal = torch.equal(value, found[name]) if torch.is_tensor(value) else value == found[name]
        assert equal, name
