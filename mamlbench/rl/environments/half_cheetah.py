"""A half-cheetah that must run in a direction or at a speed that it does not observe."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from typing_extensions import override

from mamlbench.rl.environments.mujoco import MuJoCoEnvironments

_CONTROL_COST = 0.05
_ROOT = 3  # x, z and the angle of the torso


class HalfCheetah(MuJoCoEnvironments):
    """Base class of both tasks; see `MuJoCoEnvironments`.

    Observations, as in MAML's code: positions except x, velocities, the centre of mass: D = 8 + 9
    + 3. Actions are torques as fractions of the largest, A = 6. v is the speed of the centre of
    mass along x, in metres per second. MAML's code simulates one time step of 0.01 s per step,
    gymnasium five.
    """

    model_name = "half_cheetah"
    observation_size = 20
    goal_words = 1

    def __init__(self, horizon: int = 200, frame_skip: int = 1, threads: int | None = None) -> None:
        super().__init__(horizon, frame_skip, threads)
        model = self.model
        # The body is a planar tree. Its centre of mass is the root's position plus, for each part,
        # a fixed vector rotated by the part's angle: the part's own centre and its children's
        # joints, each weighted by its share of the body's mass (a joint: all that hangs from it).
        arms = model.body_mass[1:, None] * model.body_ipos[1:]
        for child in range(2, model.nbody):
            arms[model.body_parentid[child] - 1] += (
                model.body_subtreemass[child] * model.body_pos[child]
            )
        self._arm_x, _, self._arm_z = (arms / model.body_subtreemass[1]).T
        self._height = model.body_pos[1, 2]

    @override
    def read(
        self, state: np.ndarray, acceleration: np.ndarray, control: np.ndarray
    ) -> dict[str, np.ndarray]:
        nq = self.model.nq
        position, velocity = state[:, 1 : 1 + nq], state[:, 1 + nq :]
        angle, spin = _along_chains(position), _along_chains(velocity)
        cosine, sine = np.cos(angle), np.sin(angle)
        ahead = cosine * self._arm_x + sine * self._arm_z
        up = cosine * self._arm_z - sine * self._arm_x
        x = position[:, 0] + ahead.sum(-1)
        z = self._height + position[:, 1] + up.sum(-1)
        centre = np.stack([x, np.zeros_like(x), z], axis=-1)
        return {
            "observation": np.concatenate([position[:, 1:], velocity, centre], axis=-1),
            "speed": velocity[:, 0] + (spin * up).sum(-1),
        }

    @override
    def reward(
        self, goals: np.ndarray, seen: dict[str, np.ndarray], actions: np.ndarray
    ) -> np.ndarray:
        return self.progress(goals, seen["speed"]) - _CONTROL_COST * np.square(actions).sum(-1)

    @abstractmethod
    def progress(self, goals: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """The task's reward [N] for a speed [N] in metres per second."""


class HalfCheetahDir(HalfCheetah):
    """Run forwards (goal 1) or backwards (goal -1): r = ±v − 0.05 ‖a‖²."""

    reward_in_words = "+-v - 0.05 |a|^2, v of the centre of mass (cbfinn/maml_rl)"

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return np.where(u[:, 0] < 0.5, -1.0, 1.0)

    @override
    def progress(self, goals: np.ndarray, speed: np.ndarray) -> np.ndarray:
        return goals * speed


class HalfCheetahVel(HalfCheetah):
    """Run at the goal's speed v*, uniform in 0 to 2 m/s: r = −|v − v*| − 0.05 ‖a‖²."""

    reward_in_words = "-|v - v*| - 0.05 |a|^2, v of the centre of mass (cbfinn/maml_rl)"

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return 2.0 * u[:, 0]

    @override
    def progress(self, goals: np.ndarray, speed: np.ndarray) -> np.ndarray:
        return -np.abs(speed - goals)


def _along_chains(joints: np.ndarray) -> np.ndarray:
    """Sums of the joints from the root to each part: torso, back leg (3), front leg (3)."""
    torso = joints[:, _ROOT - 1 : _ROOT]
    legs = joints[:, _ROOT:].reshape(-1, 2, 3).cumsum(-1).reshape(-1, 6)
    return np.concatenate([torso, torso + legs], axis=-1)
