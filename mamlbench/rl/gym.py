"""Any gymnasium environment, as a dataset."""

from __future__ import annotations

from typing import Any

from mamlbench.rl.control import Control
from mamlbench.rl.environments import GymEnvironments


class Gym(Control):
    """A gymnasium environment and a box of goals; see `GymEnvironments` for its requirements.

    Args:
        environment: required; see `GymEnvironments` for this and the next four.
        goal_low: lowest goal.
        goal_high: highest goal.
        horizon: steps of an episode.
        workers: number of processes.
        options: the arguments of `Control`.

    Raises:
        BadValue: an argument is invalid.
        UserError: gymnasium is not installed.
    """

    def __init__(
        self,
        environment: str | None = None,
        goal_low: tuple[float, ...] = (0.0,),
        goal_high: tuple[float, ...] = (1.0,),
        horizon: int = 200,
        workers: int | None = None,
        **options: Any,
    ) -> None:
        self.environments = GymEnvironments(environment, goal_low, goal_high, horizon, workers)
        self.modules = (self.environments.name.rpartition(".")[0],)
        super().__init__(**options)
