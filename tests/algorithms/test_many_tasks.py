"""Tasks together give the same as one at a time, for any chunk size."""

from __future__ import annotations

import pytest
import torch
from problems import conv4, gradient, images, mlp, sinusoids
from torch import Tensor

from mamlbench.algorithms import MAML, Joint, MetaLearner, Reptile
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import TaskBatch

TASKS = 5
CLOSE = {"rtol": 1e-11, "atol": 1e-13}
ALGORITHMS = {
    "maml": (MAML, {"inner_lr": 0.1, "inner_steps": 2}),
    "fomaml": (MAML, {"inner_lr": 0.1, "inner_steps": 2, "first_order": True}),
    "joint": (Joint, {}),
    "reptile-sgd": (
        Reptile,
        {"inner_optimizer": "sgd", "inner_lr": 0.1, "inner_steps": 3, "inner_batch": 4},
    ),
    "reptile-shared": (Reptile, {"moments": "shared", "inner_steps": 3, "inner_batch": 4}),
    "reptile-fresh": (Reptile, {"moments": "fresh", "inner_steps": 3, "inner_batch": 4}),
    "reptile-tail": (
        Reptile,
        {"moments": "fresh", "inner_steps": 3, "inner_batch": 4, "tail": "separate"},
    ),
}
PROBLEMS = {
    "sinusoid": (lambda: mlp(), sinusoids, Regression()),
    "stride": (lambda: conv4(), images, Classification()),
    "pool": (lambda: conv4(size=5, down="pool_same"), lambda t: images(t, 5), Classification()),
    "group": (lambda: conv4(norm="group", filters=4), images, Classification()),
    "support": (lambda: conv4(norm="support"), images, Classification()),
}

PAIRS = [
    *((algorithm, problem) for algorithm in ALGORITHMS for problem in ("sinusoid", "stride")),
    *(("maml", problem) for problem in ("pool", "group", "support")),
    ("reptile-shared", "pool"),
]


def learner_and_tasks(algorithm: str, problem: str) -> tuple[MetaLearner, TaskBatch]:
    cls, options = ALGORITHMS[algorithm]
    network, tasks, objective = PROBLEMS[problem]
    learner = cls(network(), objective, **options).double()
    if isinstance(learner, Reptile):
        for index in range(2):  # so that Adam has moments to continue from
            learner.meta_step(tasks(index + 1))
    return learner, tasks(TASKS)


@pytest.mark.parametrize(("algorithm", "problem"), PAIRS)
def test_meta_gradient(algorithm, problem):
    learner, tasks = learner_and_tasks(algorithm, problem)
    one_at_a_time: Tensor = torch.stack(
        [gradient(learner, tasks[i : i + 1]) for i in range(TASKS)]
    ).mean(0)
    losses = torch.cat([learner.meta_gradient(tasks[i : i + 1])["loss"] for i in range(TASKS)])
    # Adam divides the gradient of a bias before batch norm, which is only rounding, by its epsilon
    amplified = {"rtol": 1e-11, "atol": 1e-9} if getattr(learner, "adam", False) else CLOSE
    for chunk in (1, 2, 3, None):
        learner.task_chunk = chunk
        torch.testing.assert_close(gradient(learner, tasks), one_at_a_time, **amplified)
        torch.testing.assert_close(learner.meta_gradient(tasks)["loss"], losses, **CLOSE)


@pytest.mark.parametrize(("algorithm", "problem"), PAIRS)
def test_adapt_and_predict(algorithm, problem):
    learner, tasks = learner_and_tasks(algorithm, problem)
    learner.eval()
    with torch.no_grad():
        together = learner.adapt(tasks.support, 4)
        assert len(together.params) == 5
        for i in range(TASKS):
            one = tasks[i : i + 1]
            alone = learner.adapt(one.support, 4)
            for transductive in (True, False):
                for step in (0, 2, -1):
                    both = [
                        learner.predict(adapted, batch.query.x, step, transductive)
                        for adapted, batch in ((together, tasks), (alone, one))
                    ]
                    torch.testing.assert_close(both[0][i : i + 1], both[1], **CLOSE)


def test_chunks_share_the_moments_of_a_batch():
    """Adam continues from the mean over all tasks, whatever the chunks."""
    ends = []
    for chunk in (1, 2, None):
        torch.manual_seed(2)
        learner, tasks = learner_and_tasks("reptile-shared", "sinusoid")
        learner.task_chunk = chunk
        learner.meta_step(tasks)
        ends.append(learner.state_dict())
    for other in ends[1:]:
        for name, value in ends[0].items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(other[name], value, **CLOSE)
            else:
                assert other[name] == value
