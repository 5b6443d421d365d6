"""An ant that must run in a direction, at a speed or to a place that it does not observe."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from typing_extensions import override

from mamlbench.rl.environments.extra import imported
from mamlbench.rl.environments.mujoco import MuJoCoEnvironments
from mamlbench.rl.environments.physics import Physics, gymnasium_model

_CONTROL_COST = 0.005
_CONTACT_COST = 0.0005
_ALIVE = 0.05
_COSTS = "- 0.005 |a|^2 - 0.0005 |clip(contact, +-1)|^2 + 0.05 (cbfinn/maml_rl)"
_LOWEST, _HIGHEST = 0.2, 1.0


class Ant(MuJoCoEnvironments):
    """Base class of the ant's tasks; see `MuJoCoEnvironments`.

    r = progress − 0.005 ‖a‖² − 0.0005 ‖clip(f, ±1)‖² + 0.05, with f the contact torques and forces
    on each body (MuJoCo's `cfrc_ext`). An episode ends when the torso's height leaves 0.2 to 1 m.

    Observations, as in MAML's code: positions (15), velocities (14), clip(f, ±1) (14 bodies, the
    world first, each with torque and force: 84), the torso's rotation matrix (9), the centre of
    mass (3): D = 125. Actions are torques as fractions of the largest, A = 8. As in the model of
    MAML's code, time steps are 0.02 s (gymnasium: 0.01 s) and contacts softer than gymnasium's.
    """

    model_name = "ant"
    observation_size = 125
    goal_words = 1

    def __init__(self, horizon: int = 200, frame_skip: int = 1, threads: int | None = None) -> None:
        super().__init__(horizon, frame_skip, threads)
        self._sensors: Physics | None = None

    @staticmethod
    @override
    def as_in_rllab(spec: Any) -> None:
        spec.option.timestep = 0.02
        for geom in spec.geoms:
            geom.solimp[:3] = 0.8, 0.8, 0.01

    @property
    @override
    def start(self) -> np.ndarray:
        return np.asarray(self.model.numeric("init_qpos").data)

    @override
    def read(
        self, state: np.ndarray, acceleration: np.ndarray, control: np.ndarray
    ) -> dict[str, np.ndarray]:
        if self._sensors is None:
            self._sensors = Physics(gymnasium_model(self.model_name, _with_sensors), self.threads)
        # sensors are read before the step moves anything; the step's result is not used
        _, _, values = self._sensors.advance(state, acceleration, control, 1)
        centre, velocity = values[:, :3], values[:, 3:6]
        rotation = values[:, 6:15].reshape(-1, 3, 3).swapaxes(1, 2)
        wrench = values[:, 15:].reshape(len(values), self.model.nbody - 1, 3, 3)
        force, torque, place = wrench[:, :, 0], wrench[:, :, 1], wrench[:, :, 2]
        about_centre = torque + np.cross(place - centre[:, None], force)
        # minus, because the sensors give the force of the body on the floor
        contact = -np.concatenate([about_centre, force], axis=-1)
        contact = np.pad(contact, [(0, 0), (1, 0), (0, 0)])  # zeros for the world
        contact = np.clip(contact, -1.0, 1.0).reshape(len(values), 6 * self.model.nbody)
        parts = [state[:, 1:], contact, rotation.reshape(len(values), 9), centre]
        return {
            "observation": np.concatenate(parts, axis=-1),
            "contact": contact,
            "centre": centre,
            "velocity": velocity,
        }

    @override
    def reward(
        self, goals: np.ndarray, seen: dict[str, np.ndarray], actions: np.ndarray
    ) -> np.ndarray:
        control = _CONTROL_COST * np.square(actions).sum(-1)
        contact = _CONTACT_COST * np.square(seen["contact"]).sum(-1)
        return self.progress(goals, seen) - control - contact + _ALIVE

    @abstractmethod
    def progress(self, goals: np.ndarray, seen: dict[str, np.ndarray]) -> np.ndarray:
        """The task's reward [N] for `velocity` in metres per second or `centre` in metres."""

    @override
    def over(self, state: np.ndarray) -> np.ndarray:
        height = state[:, 3]
        return ~((height >= _LOWEST) & (height <= _HIGHEST))

    @override
    def close(self) -> None:
        super().close()
        if self._sensors is not None:
            self._sensors.close()
            self._sensors = None


class AntDir(Ant):
    """Run along x (goal 1) or against it (goal -1): progress ±v."""

    reward_in_words = f"+-v {_COSTS}"

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return np.where(u[:, 0] < 0.5, -1.0, 1.0)

    @override
    def progress(self, goals: np.ndarray, seen: dict[str, np.ndarray]) -> np.ndarray:
        return goals * seen["velocity"][:, 0]


class AntVel(Ant):
    """Run at the goal's speed v* along x, uniform in 0 to 3 m/s: progress 1 − |v − v*|."""

    reward_in_words = f"1 - |v - v*| {_COSTS}"

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return 3.0 * u[:, 0]

    @override
    def progress(self, goals: np.ndarray, seen: dict[str, np.ndarray]) -> np.ndarray:
        return 1.0 - np.abs(seen["velocity"][:, 0] - goals)


class AntGoal(Ant):
    """Run to a place p*, uniform in [−3, 3]² metres: progress 4 − ‖p − p*‖₁."""

    reward_in_words = f"4 - |p - p*|_1 {_COSTS}"
    goal_words = 2

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return 6.0 * u - 3.0

    @override
    def progress(self, goals: np.ndarray, seen: dict[str, np.ndarray]) -> np.ndarray:
        return 4.0 - np.abs(seen["centre"][:, :2] - goals).sum(-1)


def _with_sensors(spec: Any) -> None:
    """Add sensors: the centre of mass and its velocity, the torso's axes, contacts."""
    Ant.as_in_rllab(spec)
    mujoco = imported("mujoco")
    kinds, fields, body = mujoco.mjtSensor, mujoco.mjtConDataField, mujoco.mjtObj.mjOBJ_XBODY
    # a reading needs the forces once; Runge-Kutta would compute them four times
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    for kind in (kinds.mjSENS_SUBTREECOM, kinds.mjSENS_SUBTREELINVEL):
        spec.add_sensor(type=kind, objtype=mujoco.mjtObj.mjOBJ_BODY, objname="torso")
    for kind in (kinds.mjSENS_FRAMEXAXIS, kinds.mjSENS_FRAMEYAXIS, kinds.mjSENS_FRAMEZAXIS):
        spec.add_sensor(type=kind, objtype=body, objname="torso")
    wanted = (fields.mjCONDATA_FORCE, fields.mjCONDATA_TORQUE, fields.mjCONDATA_POS)
    bits = sum(1 << int(field) for field in wanted)
    net_force = 3  # sum over all contacts of the body
    for number, part in enumerate(spec.bodies[1:], start=1):
        part.name = part.name or f"body_{number}"
        spec.add_sensor(
            type=kinds.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname=part.name,
            intprm=[bits, net_force, 1],
        )
