"""Environments whose tasks are goals."""

from mamlbench.rl.environments.ant import AntDir, AntGoal, AntVel
from mamlbench.rl.environments.base import Environments
from mamlbench.rl.environments.gym_adapter import GymEnvironments
from mamlbench.rl.environments.half_cheetah import HalfCheetahDir, HalfCheetahVel
from mamlbench.rl.environments.mujoco import MuJoCoEnvironments
from mamlbench.rl.environments.navigation2d import PointEnvironments
from mamlbench.rl.environments.oracle import GoalObserved

LOCOMOTION: dict[str, type[MuJoCoEnvironments]] = {
    "half_cheetah_dir": HalfCheetahDir,
    "half_cheetah_vel": HalfCheetahVel,
    "ant_dir": AntDir,
    "ant_vel": AntVel,
    "ant_goal": AntGoal,
}

__all__ = [
    "LOCOMOTION",
    "Environments",
    "GoalObserved",
    "GymEnvironments",
    "MuJoCoEnvironments",
    "PointEnvironments",
]
