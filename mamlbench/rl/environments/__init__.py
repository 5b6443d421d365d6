"""Environments whose tasks are goals."""

from mamlbench.rl.environments.base import Environments
from mamlbench.rl.environments.navigation2d import PointEnvironments

__all__ = ["Environments", "PointEnvironments"]
