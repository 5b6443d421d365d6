"""MuJoCo's environments, as datasets."""

from __future__ import annotations

from typing import Any

from mamlbench.errors import one_of
from mamlbench.rl.control import Control
from mamlbench.rl.environments import LOCOMOTION, MuJoCoEnvironments


class Locomotion(Control):
    """A running body in MuJoCo (arXiv 1703.03400, section 5.3).

    Args:
        environment: one of `LOCOMOTION`.
        horizon: steps of an episode.
        frame_skip: the simulator's time steps in one step.
        threads: simulations that advance in parallel; None: one per core.
        options: the arguments of `Control`.

    Attributes:
        bodies: the environments, without an oracle's goal.

    Raises:
        BadValue: an argument is out of range.
        UserError: MuJoCo or gymnasium is not installed.
    """

    def __init__(
        self,
        environment: str,
        horizon: int = 200,
        frame_skip: int = 1,
        threads: int | None = None,
        **options: Any,
    ) -> None:
        one_of("environment", environment, LOCOMOTION)
        kind: Any = LOCOMOTION[environment]
        self.bodies: MuJoCoEnvironments = kind(horizon, frame_skip, threads)
        self.environments = self.bodies
        super().__init__(**options)
