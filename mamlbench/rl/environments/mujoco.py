"""Base class of the environments on MuJoCo's models."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench import noise
from mamlbench.errors import require
from mamlbench.rl.environments.base import Environments
from mamlbench.rl.environments.extra import cores, require_finite
from mamlbench.rl.environments.physics import Physics, gymnasium_model


class MuJoCoEnvironments(Environments):
    """Episodes of one of gymnasium's models, with the rewards of MAML's code (cbfinn/maml_rl).

    `as_in_rllab` changes a model to rllab's, which MAML's code used, where the two differ; only the
    shape of the contacts' impedance stays that of the newer MuJoCo.

    The first state is the model's own plus normal noise, with standard deviation 0.01 on positions
    and 0.1 on velocities. An episode that is done keeps its last state.

    Subclasses define what is observed (`read`), the reward (`reward`) and when an episode ends
    (`over`).

    Args:
        horizon: steps of an episode.
        frame_skip: the simulator's time steps in one step of the environment.
        threads: simulations that advance in parallel; None: one per core. Results do not depend
            on it.

    Raises:
        BadValue: an argument is out of range.
        UserError: MuJoCo or gymnasium is not installed.
    """

    model_name: ClassVar[str]

    def __init__(self, horizon: int, frame_skip: int, threads: int | None = None) -> None:
        require(horizon >= 2, "horizon", horizon, "2 or more")
        require(frame_skip >= 1, "frame_skip", frame_skip, "1 or more")
        require(threads is None or threads >= 1, "threads", threads, "1 or more, or null")
        self.horizon, self.frame_skip, self.threads = horizon, frame_skip, threads or cores()
        self.model = gymnasium_model(self.model_name, self.as_in_rllab)
        self.action_size = self.model.nu
        self._physics: Physics | None = None

    @staticmethod
    def as_in_rllab(spec: Any) -> None:
        """Change gymnasium's `mujoco.MjSpec` in place where rllab's model differs."""

    @property
    def start(self) -> np.ndarray:
        """Positions [nq] of the first state, without noise."""
        return np.asarray(self.model.qpos0)

    @abstractmethod
    def read(
        self, state: np.ndarray, acceleration: np.ndarray, control: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Measurements of N simulations: `observation` [N, D], and what `reward` needs."""

    @abstractmethod
    def reward(
        self, goals: np.ndarray, seen: dict[str, np.ndarray], actions: np.ndarray
    ) -> np.ndarray:
        """Rewards [N] from goals [N, ...], `read`'s result, and actions [N, A] in [-1, 1]."""

    def over(self, state: np.ndarray) -> np.ndarray:
        """Which of N simulations have ended, [N] bool; by default none."""
        return np.zeros(len(state), dtype=bool)

    @property
    def physics(self) -> Physics:
        """The simulations; their threads start at first use."""
        if self._physics is None:
            self._physics = Physics(self.model, self.threads)
        return self._physics

    @property
    def states(self) -> np.ndarray:
        """The current states [T, R, 1 + nq + nv]: time in seconds, positions, velocities."""
        return self._state.reshape(*self._shape, -1).copy()

    @override
    def reset(self, goals: np.ndarray, episodes: int, seeds: np.ndarray) -> Tensor:
        nq, nv = self.model.nq, self.model.nv
        moved = noise.rows(seeds, (episodes, nq + nv), 0) * np.repeat([0.01, 0.1], [nq, nv])
        first = np.concatenate([[0.0], self.start, np.zeros(nv)])
        state = first + np.pad(moved, [(0, 0), (0, 0), (1, 0)])
        return self.reset_to(goals, state)

    def reset_to(self, goals: np.ndarray, states: np.ndarray) -> Tensor:
        """Start from states [T, R, 1 + nq + nv]; returns the first observations [T, R, D]."""
        self._shape = states.shape[:2]
        self._goals = np.repeat(goals, states.shape[1], axis=0)
        self._state = states.reshape(-1, states.shape[-1]).copy()
        count = len(self._state)
        self._acceleration = np.zeros((count, self.model.nv))
        self._done = np.zeros(count, dtype=bool)
        at_rest = np.zeros((count, self.action_size))
        self._observation = self.read(self._state, self._acceleration, at_rest)["observation"]
        return self._tensor(self._observation)

    @override
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = actions.detach().cpu().numpy().astype(np.float64)
        require_finite("action", given)
        bounded = np.clip(given, -1.0, 1.0).reshape(-1, self.action_size)
        rewards = np.zeros(len(bounded))
        running: Any = np.flatnonzero(~self._done) if self._done.any() else slice(None)
        control, before = bounded[running], self._state[running]
        # actuators of both models take [-1, 1], so actions need no rescaling
        state, acceleration, _ = self.physics.advance(
            before, self._acceleration[running], control, self.frame_skip
        )
        seen = self.read(state, acceleration, control)
        over = self.over(state)
        rewards[running] = self.reward(self._goals[running], seen, control)
        require_finite("reward", rewards.reshape(self._shape))
        self._state[running], self._acceleration[running] = state, acceleration
        self._observation[running], self._done[running] = seen["observation"], over
        require_finite("observation", self._observation.reshape(*self._shape, -1))
        done = torch.from_numpy(self._done.reshape(self._shape).copy())
        return self._tensor(self._observation), self._tensor(rewards), done

    @override
    def close(self) -> None:
        if self._physics is not None:
            self._physics.close()
            self._physics = None

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).reshape(*self._shape, *values.shape[1:])
