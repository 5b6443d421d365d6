"""Gymnasium environments small enough to check by hand."""

import os
import signal

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="needs the rl extra: gymnasium")


class Line(gymnasium.Env):
    """x moves by an action in 0 to 4; r = −|x − goal|; an episode ends when x exceeds 5."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(0.0, 4.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.goal = options["goal"][0]
        self.x = self.np_random.uniform()
        return np.array([self.x, 7.0]), {}

    def step(self, action):
        self.x += float(action[0])
        observation = np.array([self.x, 7.0])
        return observation, -abs(self.x - self.goal), self.x > 5.0, False, {}


class Cut(Line):
    """Episodes are truncated after two steps."""

    def reset(self, *, seed=None, options=None):
        self.left = 2
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.left -= 1
        observation, reward, ended, _, info = super().step(0.0 * action)
        return observation, reward, ended, self.left <= 0, info


class Broken(Line):
    def step(self, action):
        raise ValueError("the floor\nis missing")


class Deadly(Line):
    """The process kills itself at the first step if the goal is 1."""

    def step(self, action):
        if self.goal == 1.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Unsound(Line):
    def step(self, action):
        return np.array([np.nan, 0.0]), 0.0, False, False, {}


class Short(Line):
    """Observations of another size than the space that it declares."""

    def step(self, action):
        observation, *rest = super().step(action)
        return observation[:1], *rest


class Named(Line):
    observation_space = gymnasium.spaces.Dict({"x": Line.observation_space})


class Discrete(Line):
    action_space = gymnasium.spaces.Discrete(3)


class Unbuildable(Line):
    def __init__(self):
        raise gymnasium.error.DependencyNotInstalled("the floor is not installed")
