"""Environments whose tasks are goals."""

from mamlbench.rl.environments.base import Environments

__all__ = ["Environments"]
