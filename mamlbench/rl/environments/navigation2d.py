"""A point in the plane that must find the task's goal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.rl.environments.base import Environments

_LONGEST_STEP = 0.1
_NEAR = 0.01


class PointEnvironments(Environments):
    """A point that moves by its actions and is rewarded for nearness (arXiv 1703.03400, 5.3).

    The point starts at (0, 0). The goal is uniform in a square around it; the observation is the
    point's position, so only rewards reveal the goal. An action of 1 is a step of 0.1 along its
    axis. An episode ends when the point is within 0.01 of the goal along both axes.

    Args:
        horizon: steps of an episode.
        squared: reward −distance², as in the paper, instead of −distance, as in its code.
        reach: goals are uniform in [-reach, reach]².
    """

    observation_size = 2
    action_size = 2
    goal_words = 2

    def __init__(self, horizon: int = 100, squared: bool = False, reach: float = 0.5) -> None:
        self.horizon, self.squared, self.reach = horizon, squared, reach
        self.reward_in_words = "-distance^2" if squared else "-distance"

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return self.reach * (2.0 * u - 1.0)

    @override
    def reset(self, goals: np.ndarray, episodes: int, seeds: np.ndarray) -> Tensor:
        del seeds  # nothing here is random
        self._goal = torch.from_numpy(np.asarray(goals)).unsqueeze(1)
        self._position = torch.zeros(len(goals), episodes, 2)
        self._done = torch.zeros(len(goals), episodes, dtype=torch.bool)
        return self._position

    @override
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        position, goal = self._position.to(actions), self._goal.to(actions)
        over = self._done.to(actions.device)
        position = position + _LONGEST_STEP * actions.clamp(-1.0, 1.0)
        away = position - goal
        distance = away.square().sum(-1) if self.squared else away.norm(dim=-1)
        self._position = position
        self._done = over | (away.abs() < _NEAR).all(-1)
        return position, (-distance).masked_fill(over, 0.0), self._done
