"""Environments that show the goal to the policy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.rl.environments.base import Environments


class GoalObserved(Environments):
    """Environments with the goal appended to the observations.

    The oracle of arXiv 1703.03400, section 5.3, is a policy trained in them.

    Args:
        environments: the environments without the goal.
    """

    def __init__(self, environments: Environments) -> None:
        self.hidden = environments
        self.action_size, self.horizon = environments.action_size, environments.horizon
        self.goal_words = environments.goal_words
        values = environments.goals(np.zeros((1, environments.goal_words))).size
        self.observation_size = environments.observation_size + values
        self.reward_in_words = environments.reward_in_words

    @property
    @override
    def name(self) -> str:
        return f"{self.hidden.name}, goal observed"

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return self.hidden.goals(u)

    @override
    def reset(self, goals: np.ndarray, episodes: int, seeds: np.ndarray) -> Tensor:
        self._goals = torch.from_numpy(np.asarray(goals, dtype=np.float32)).reshape(
            len(goals), 1, -1
        )
        return self._told(self.hidden.reset(goals, episodes, seeds))

    @override
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        observed, rewards, done = self.hidden.step(actions)
        return self._told(observed), rewards, done

    @override
    def close(self) -> None:
        self.hidden.close()

    def _told(self, observed: Tensor) -> Tensor:
        goals = self._goals.to(observed).expand(*observed.shape[:2], -1)
        return torch.cat([observed, goals], dim=-1)
