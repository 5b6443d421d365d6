"""The interface of all environments: many episodes of many tasks, stepped together."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor


class Environments(ABC):
    """Many episodes of many tasks at once.

    Shapes: T tasks, R episodes of each, D observation values, A action values.

    Attributes:
        observation_size: D.
        action_size: A.
        horizon: steps after which an episode ends at the latest.
        goal_words: how many uniform random numbers determine one task.
        reward_in_words: the reward, as results record it.
    """

    observation_size: int
    action_size: int
    horizon: int
    goal_words: int
    reward_in_words: str = "the environment's own"

    @property
    def name(self) -> str:
        """The environment's name, as results record it."""
        return type(self).__name__

    @abstractmethod
    def goals(self, u: np.ndarray) -> np.ndarray:
        """Tasks [T, ...] from u, [T, goal_words] uniform in [0, 1)."""

    @abstractmethod
    def reset(self, goals: np.ndarray, episodes: int, seeds: np.ndarray) -> Tensor:
        """Start new episodes and return the first observations [T, R, D].

        Args:
            goals: [T, ...], as `goals` returns them.
            episodes: R of each task.
            seeds: [T] int64, for all randomness in a task's episodes.
        """

    @abstractmethod
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of every episode.

        Args:
            actions: [T, R, A] in normalised units: [-1, 1] spans the range of each action; values
                outside it are clipped.

        Returns:
            Observations [T, R, D], rewards [T, R], and which episodes are done, [T, R] bool. An
            episode that is done can still be stepped; its rewards are then 0.
        """

    def close(self) -> None:  # noqa: B027  most have nothing to free
        """Free resources, such as processes."""
