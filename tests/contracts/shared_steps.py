"""Outer steps of every algorithm, in one process or in several that share the tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from registered import Problem

from mamlbench.algorithms import MAML, MetaLearner, NonFiniteError, Reptile
from mamlbench.hardware.device import Hardware
from mamlbench.hardware.distributed import joined
from mamlbench.networks import Conv4, GaussianMLP
from mamlbench.objectives import Classification
from mamlbench.rl.control import Navigation2D
from mamlbench.tasks import Examples, TaskBatch

SIZES = (5, 2)
"""Tasks of the batches: one divides unevenly, one has fewer tasks than there are processes."""


@dataclass(frozen=True)
class Case:
    """A learner and its batches.

    Attributes:
        algorithm: name of its config.
        problem: `regression` or `classification`; `policy` for MAML or Reptile in 2D navigation.
        options: of the learner, as pairs.
        norm: of the network, in classification.
        replay: replay the meta-gradient.
        sizes: tasks of each batch.
        seeds: whether the tasks bring seeds.
    """

    algorithm: str
    problem: str
    options: tuple[tuple[str, Any], ...] = ()
    norm: str = "batch"
    replay: bool = False
    sizes: tuple[int, ...] = SIZES
    seeds: bool = True


SHARED = {
    # Adam makes full steps of gradients that are only rounding, as of biases before batch norm
    "classification": {"outer_optimizer": "sgd", "outer_lr": 0.1},
    "regression": {},
    "policy": {},
}


def built(case: Case) -> tuple[MetaLearner, list[TaskBatch]]:
    options: Any = SHARED[case.problem] | dict(case.options)
    if case.problem == "policy":
        dataset = Navigation2D(horizon=6, shots=4, queries=4)
        torch.manual_seed(0)
        network = GaussianMLP((2,), 4, hidden=(5,), activation="tanh")
        cls = {"maml": MAML, "reptile": Reptile}[case.algorithm]
        learner = cls(network, dataset.objective, inner_lr=0.3, **options).double()
        if "outer_optimizer" in options:
            # in so small a problem, conjugate gradients find mostly rounding from the tenth step on
            learner.optimizer.cg_steps = 5
        cast = Hardware(precision="float64").cast
        return learner, [cast(dataset.sample("train", s, 0, s)) for s in case.sizes]
    problem = Problem(case.problem)
    if case.norm == "batch":
        learner = problem.learner(case.algorithm, **options)
    else:
        torch.manual_seed(0)
        network = Conv4((1, 6, 6), 3, filters=4, blocks=2, norm=case.norm)
        learner = MAML(network, Classification(), inner_lr=0.01, **options).double()
    return learner, [problem.tasks(size, seed) for seed, size in enumerate(case.sizes)]


def broken(tasks: TaskBatch) -> TaskBatch:
    """The same tasks, except for an infinite input of the last one."""
    x = tasks.support.x.clone()
    x[-1, 0] = float("inf")
    return replace(tasks, support=replace(tasks.support, x=x))


def steps(case: Case) -> dict[str, np.ndarray]:
    """The learner's state and its metrics after an outer step on each batch.

    In several processes: those of the first, after a check that all have the same.
    """
    ranks = joined()
    learner, batches = built(case)
    learner.share_with(ranks)
    if case.replay:
        assert learner.replay()
    found = {}
    for number, tasks in enumerate(batches):
        if not case.seeds:
            support = Examples(tasks.support.x, tasks.support.y)
            tasks = TaskBatch(support, tasks.query)
        for name, values in learner.meta_step(tasks).items():
            assert values.shape == (len(tasks),)
            found[f"step {number}: {name}"] = values.numpy()
    if isinstance(batches[0].support, Examples):
        with pytest.raises(NonFiniteError) as error:
            learner.meta_step(broken(batches[0]))
        found["losses of a broken batch"] = error.value.losses.numpy()
    for name, value in learner.state_dict().items():
        found[name] = np.asarray(list(value.values()) if isinstance(value, dict) else value)
    for other in ranks.gathered([found]):
        assert all(np.array_equal(other[name], found[name], equal_nan=True) for name in found)
    return found


def all_steps(cases: list[Case]) -> list[dict[str, np.ndarray]]:
    """`steps` of each."""
    return [steps(case) for case in cases]
