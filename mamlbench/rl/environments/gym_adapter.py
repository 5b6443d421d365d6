"""Adapter for gymnasium environments with continuous actions."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.errors import BadValue, UserError, require, with_its_place
from mamlbench.rl.environments.base import Environments
from mamlbench.rl.environments.extra import cores, imported, require_finite
from mamlbench.rl.environments.workers import Episodes, Workers
from mamlbench.words import number_of

_ACCEPTED = "package.module.name of a gymnasium environment, or its registered name"


class GymEnvironments(Environments):
    """Episodes of a gymnasium environment whose `reset` takes the task as `options["goal"]`.

    `env.reset(seed=seed, options={"goal": goal})` starts an episode of the task `goal`, an array
    [G]. Goals are uniform in a box. Observations are flattened; actions are bounded vectors.

    Args:
        environment: `package.module.name` of a class or function that makes a `gymnasium.Env`, or
            an identifier that `gymnasium.make` knows.
        goal_low: lowest goal, G values.
        goal_high: highest goal, G values.
        horizon: steps of an episode.
        workers: number of processes; 0 steps everything in this process; None: one per core.
            Results do not depend on it.

    Raises:
        BadValue: an unknown environment, discrete or unbounded actions, observations that are not
            an array (`Box`), or another invalid argument.
        UserError: gymnasium is not installed; later, a worker died, an environment failed, or an
            observation or reward is not what it must be.
    """

    def __init__(
        self,
        environment: str | None,
        goal_low: tuple[float, ...],
        goal_high: tuple[float, ...],
        horizon: int = 200,
        workers: int | None = None,
    ) -> None:
        require(horizon >= 2, "horizon", horizon, "2 or more")
        require(workers is None or workers >= 0, "workers", workers, "0 or more, or null")
        same = len(goal_low) == len(goal_high) >= 1
        require(same, "goal_high", list(goal_high), f"as many values as goal_low={list(goal_low)}")
        self._low, self._high = np.array(goal_low, float), np.array(goal_high, float)
        ordered = bool((self._low <= self._high).all())
        require(ordered, "goal_high", list(goal_high), f"at least goal_low={list(goal_low)}")
        self.environment = environment or "null"
        self.observation_size, self.action_size = _sizes_of(self.environment)
        self.horizon, self.goal_words = horizon, len(goal_low)
        self._make = functools.partial(GymRunner, self.environment, self.observation_size)
        self._count = cores() if workers is None else workers
        self._workers: Workers | None = None

    @property
    @override
    def name(self) -> str:
        return self.environment

    @property
    def workers(self) -> Workers:
        """The worker processes, started at first use."""
        if self._workers is None:
            self._workers = Workers(self._make, self._count)
        return self._workers

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return self._low + (self._high - self._low) * u

    @override
    def reset(self, goals: np.ndarray, episodes: int, seeds: np.ndarray) -> Tensor:
        self._shape = (len(goals), episodes)
        each = [[_episode_seed(int(seed), r) for r in range(episodes)] for seed in seeds]
        return self._tensors(self.workers.reset(goals, np.array(each)))[0]

    @override
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        given = actions.detach().cpu().numpy().astype(np.float64)
        require_finite("action", given)
        bounded = np.clip(given, -1.0, 1.0).reshape(-1, self.action_size)
        return self._tensors(self.workers.step(bounded))

    @override
    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def _tensors(self, episodes: Episodes) -> tuple[Tensor, Tensor, Tensor]:
        observations, rewards, done = (
            part.reshape(*self._shape, *part.shape[1:]) for part in episodes
        )
        require_finite("observation", observations)
        require_finite("reward", rewards)
        observed = torch.from_numpy(observations.astype(np.float32))
        return observed, torch.from_numpy(rewards.astype(np.float32)), torch.from_numpy(done)


class GymRunner:
    """Episodes of one gymnasium environment, one `Env` object each; see `workers.Runner`."""

    def __init__(self, environment: str, observation_size: int) -> None:
        self._environment, self._observation_size = environment, observation_size
        self._make = maker(environment)
        self._environments: list[Any] = []

    def reset(self, goals: np.ndarray, seeds: np.ndarray) -> Episodes:
        """Start one episode for each goal [E, G] and seed [E]."""
        while len(self._environments) < len(seeds):
            self._environments.append(self._make())
        self._now = [
            self._flat(env.reset(seed=int(seed), options={"goal": goal})[0])
            for env, goal, seed in zip(self._environments, goals, seeds, strict=False)
        ]
        self._done = np.zeros(len(seeds), dtype=bool)
        return self._episodes(np.zeros(len(seeds)))

    def step(self, actions: np.ndarray) -> Episodes:
        """Step each episode that is not done, with actions [E, A] in [-1, 1]."""
        rewards = np.zeros(len(actions))
        for i in np.flatnonzero(~self._done):
            env = self._environments[i]
            low, high = env.action_space.low, env.action_space.high
            scaled = (low + (actions[i] + 1.0) * 0.5 * (high - low)).astype(env.action_space.dtype)
            observation, reward, ended, cut, _ = env.step(scaled)
            self._now[i] = self._flat(observation)
            rewards[i], self._done[i] = reward, ended or cut
        return self._episodes(rewards)

    def _flat(self, observation: Any) -> np.ndarray:
        flat, size = np.ravel(observation).astype(np.float64), self._observation_size
        if len(flat) != size:
            has = f"an observation has {number_of(len(flat), 'value')}"
            accepted = f"accepted is {size}, as in its observation_space"
            raise UserError(f"dataset.environment={self._environment}: {has}; {accepted}")
        return flat

    def close(self) -> None:
        """Close the environments."""
        for env in self._environments:
            env.close()

    def _episodes(self, rewards: np.ndarray) -> Episodes:
        # a worker may have no episodes
        none = np.zeros((0, self._observation_size))
        observations = np.stack(self._now) if self._now else none
        return Episodes(observations, rewards, self._done.copy())


def maker(environment: str) -> Callable[[], Any]:
    """The function that makes the environment of this name.

    Raises:
        BadValue: there is no such environment.
        UserError: gymnasium is not installed.
    """
    gymnasium = imported("gymnasium")
    module, _, name = environment.rpartition(".")
    try:
        if module:
            made: Callable[[], Any] = getattr(importlib.import_module(module), name)
            return made
        gymnasium.spec(environment)
    except (ImportError, AttributeError, gymnasium.error.Error) as error:
        raise BadValue("environment", environment, f"{_ACCEPTED} ({error})") from error
    return functools.partial(gymnasium.make, environment, disable_env_checker=True)


def _sizes_of(environment: str) -> tuple[int, int]:
    """`_sizes` of the environment of this name.

    Raises:
        BadValue: the environment does not exist, cannot be made, or has unsuitable actions or
            observations.
        UserError: gymnasium is not installed.
    """
    make = maker(environment)
    try:
        one = make()
        found = _sizes(one)
        one.close()
    except UserError:
        raise
    except Exception as error:  # a user's constructor can raise anything
        accepted = f"{_ACCEPTED} ({with_its_place(error)})"
        raise BadValue("environment", environment, accepted) from error
    return found


def _sizes(env: Any) -> tuple[int, int]:
    """Values of an observation, flattened, and of an action, a vector."""
    box = imported("gymnasium").spaces.Box
    actions, observations = env.action_space, env.observation_space
    bounded = isinstance(actions, box) and actions.is_bounded()
    continuous = bounded and np.issubdtype(actions.dtype, np.floating) and len(actions.shape) == 1
    require(continuous, "environment", f"with actions {actions}", "continuous, bounded actions")
    is_array = isinstance(observations, box)
    require(is_array, "environment", f"with observations {observations}", "an array (Box) of them")
    return int(np.prod(observations.shape)), int(actions.shape[0])


def _episode_seed(seed: int, episode: int) -> int:
    """The seed of one episode, a single number as gymnasium takes it."""
    entropy = np.random.SeedSequence([seed, episode])
    return int(entropy.generate_state(1, np.uint32)[0])
