"""Environments that show the goal."""

from __future__ import annotations

import numpy as np
import torch

from mamlbench.rl.environments import GoalObserved, PointEnvironments


def test_the_goal_stands_after_what_is_observed_and_nothing_else_changes():
    told, hidden = GoalObserved(PointEnvironments()), PointEnvironments()
    assert (told.observation_size, told.action_size, told.goal_words) == (4, 2, 2)
    goals, seeds = np.array([[0.3, 0.4], [-0.2, 0.1]]), np.zeros(2, dtype=np.int64)
    expected = torch.tensor(goals, dtype=torch.float32).unsqueeze(1).expand(2, 3, 2)
    first = told.reset(goals, 3, seeds)
    assert torch.equal(first, torch.cat([hidden.reset(goals, 3, seeds), expected], -1))
    action = torch.linspace(-1.0, 1.0, 12).reshape(2, 3, 2)
    for found, own in zip(told.step(action), hidden.step(action), strict=True):
        whole = torch.cat([own, expected], -1) if found.shape[-1] == 4 else own
        assert torch.equal(found, whole)
