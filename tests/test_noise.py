"""Noise depends on the task and the place where it is drawn, not on the batch."""

from __future__ import annotations

import numpy as np
import torch

from mamlbench.noise import normal, rows
from mamlbench.tasks import Examples

SEEDS = np.array([3, 10**15, 7])
EXAMPLES = Examples(torch.zeros(3, 2, 1), torch.zeros(3, 2, 1), SEEDS)


def test_a_task_draws_the_same_in_any_batch():
    together = normal(EXAMPLES, (4, 5), 0, torch.zeros((), dtype=torch.float64))
    assert together.shape == (3, 4, 5)
    for task in range(3):
        alone = normal(EXAMPLES[task : task + 1], (4, 5), 0, together)
        assert torch.equal(alone[0], together[task])


def test_more_of_the_first_dimension_leave_the_others_as_they_were():
    assert np.array_equal(rows(SEEDS, (5, 2), 1)[:, :3], rows(SEEDS, (3, 2), 1))


def test_tasks_and_places_draw_other_numbers():
    like = torch.zeros(())
    draws = torch.cat([normal(EXAMPLES, (1000,), place, like) for place in (0, 1)])
    correlations = np.corrcoef(draws.numpy())
    assert np.abs(correlations - np.eye(6)).max() < 0.15
    assert abs(float(draws.mean())) < 0.05
    assert abs(float(draws.std()) - 1) < 0.05
