"""Gymnasium's own bodies with one time step in a step, as ours have, to compare their speed."""

from __future__ import annotations

from typing import Any

from mamlbench.rl.environments.gym_adapter import maker


def HalfCheetah() -> Any:  # noqa: N802  named as what it makes
    """`HalfCheetah-v5` with one time step in a step."""
    make: Any = maker("HalfCheetah-v5")
    return make(frame_skip=1)


def Ant() -> Any:  # noqa: N802
    """`Ant-v5` with one time step in a step."""
    make: Any = maker("Ant-v5")
    return make(frame_skip=1)
