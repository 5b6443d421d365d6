"""Coverage of ambiguous tasks, worked out by hand."""

import math

import numpy as np
import pytest
import torch

from mamlbench.evaluation.coverage import coverage
from mamlbench.tasks import Examples, TaskBatch


def ambiguous(y, possible):
    x = torch.zeros(*np.shape(y), 1)
    query = Examples(x, torch.tensor(y))
    return TaskBatch(query, query, {"possible": np.array(possible)})


def logits(probabilities):
    """Logits [T, P, M, 2] from the probabilities of class 1."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([(1 - p).log(), p.log()], dim=-1)


# one task, six queries: a negative and a positive of each of three possible tasks, shuffled
Y = [[1, 0, 0, 1, 1, 0]]
POSSIBLE = [[0, 1, 0, 2, 1, 2]]
# the probability of class 1 for each query, by four classifiers
CLASSIFIERS = [
    [
        [0.8, 0.5, 0.1, 0.4, 0.5, 0.5],  # likelihoods of the labels 0.8*0.9, 0.5*0.5, 0.4*0.5
        [0.4, 0.2, 0.5, 0.5, 0.3, 0.6],  # 0.4*0.5, 0.8*0.3, 0.5*0.4
        [0.9, 0.6, 0.7, 0.4, 0.7, 0.6],  # 0.9*0.3, 0.4*0.7, 0.4*0.4
        [0.6, 0.5, 0.3, 0.5, 0.5, 0.5],  # 0.6*0.7, 0.25, 0.25
    ]
]


def test_by_hand():
    """The first and last classifier are assigned to task 0, the others to task 1, none to 2."""
    found = coverage(logits(CLASSIFIERS), ambiguous(Y, POSSIBLE))
    assert found["coverage"].tolist() == [2.0]
    # on its task, the first classifier has both right, the second only the negative, the third only
    # the positive (0.6 for a negative), the last both
    assert found["assigned_accuracy"].tolist() == [(1 + 0.5 + 0.5 + 1) / 4]
    # the probability of each query's label, averaged over classifiers
    mixture = [
        (0.8 + 0.4 + 0.9 + 0.6) / 4,
        (0.5 + 0.8 + 0.4 + 0.5) / 4,
        (0.9 + 0.5 + 0.3 + 0.7) / 4,
        (0.4 + 0.5 + 0.4 + 0.5) / 4,
        (0.5 + 0.3 + 0.7 + 0.5) / 4,
        (0.5 + 0.4 + 0.4 + 0.5) / 4,
    ]
    nll = -sum(math.log(p) for p in mixture) / 6
    torch.testing.assert_close(found["average_nll"], torch.tensor([nll], dtype=torch.float64))


def test_possible_tasks_count_alike_however_many_queries_they_have():
    """Three queries of task 0 and one of task 1: the mean of two means, not of four queries."""
    tasks = ambiguous([[1, 1, 1, 1]], [[0, 0, 0, 1]])
    found = coverage(logits([[[0.5, 0.5, 0.5, 0.6]]]), tasks)
    nll = -(math.log(0.5) + math.log(0.6)) / 2
    torch.testing.assert_close(found["average_nll"], torch.tensor([nll], dtype=torch.float64))
    assert found["assigned_accuracy"].tolist() == [1.0]


@pytest.mark.parametrize(("particles", "most"), [(1, 1), (2, 2), (50, 3)])
def test_coverage_is_at_most_the_number_of_classifiers(particles, most):
    outputs = torch.randn(7, particles, 6, 2, generator=torch.Generator().manual_seed(0))
    found = coverage(outputs, ambiguous(Y * 7, POSSIBLE * 7))
    assert {values.shape for values in found.values()} == {(7,)}
    assert found["coverage"].min() >= 1
    assert found["coverage"].max() == most


def test_each_task_is_judged_by_itself():
    outputs = torch.randn(3, 4, 6, 2, generator=torch.Generator().manual_seed(1))
    y = [[1, 0, 0, 1, 1, 0], [0, 0, 1, 1, 0, 1], [1, 0, 1, 0, 1, 0]]
    possible = [[0, 1, 0, 2, 1, 2], [0, 1, 2, 0, 1, 2], [2, 2, 1, 1, 0, 0]]
    tasks = ambiguous(y, possible)
    whole = coverage(outputs, tasks)
    for task in range(3):
        alone = coverage(outputs[task : task + 1], tasks[task : task + 1])
        for name, value in alone.items():
            torch.testing.assert_close(value, whole[name][task : task + 1])


def test_other_tasks_have_none():
    query = Examples(torch.zeros(1, 2, 1), torch.zeros(1, 2, dtype=torch.int64))
    for info in (None, {"classes": np.zeros((1, 2))}):
        assert coverage(torch.zeros(1, 1, 2, 2), TaskBatch(query, query, info)) == {}
