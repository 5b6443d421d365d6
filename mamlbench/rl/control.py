"""Tasks in which a policy acts, as datasets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from typing_extensions import override

from mamlbench.datasets.base import Dataset
from mamlbench.errors import require
from mamlbench.rl.environments.base import Environments
from mamlbench.rl.environments.navigation2d import PointEnvironments
from mamlbench.rl.environments.oracle import GoalObserved
from mamlbench.rl.experience import Experience
from mamlbench.rl.objective import PolicyGradient
from mamlbench.rl.rollouts import Credit, Rollouts
from mamlbench.tasks import Examples, TaskBatch
from mamlbench.words import number_of


class Control(Dataset):
    """Tasks that are goals in an environment; a policy makes their examples by acting.

    A subclass sets `environments` before it calls this constructor.

    Args:
        shots: R episodes before each inner step at meta-test, and at meta-training unless
            `train_shots` is given.
        queries: R episodes after the last inner step at meta-training.
        train_shots: R episodes before each inner step at meta-training.
        discount: of rewards, per step.
        gae_lambda: λ of generalised advantages.
        later_steps: factor on the loss from the second inner step on; under gradient descent it
            scales the step size.
        surrogate: see `PolicyGradient`.
        oracle: add the goal to the observations, so that nothing is left to adapt to.
        fill: learn from R times `horizon` steps, and so from more than R episodes if some end
            early (see `Rollouts`), because MAML's code counts steps. Returns at meta-test are
            means over R episodes only.
        test_goals_seed: seed of NumPy's legacy generator, from which MAML's test scripts draw
            their goals. None: goals come from each task's own numbers, as in the other splits.

    Attributes:
        environments: where to act.

    Raises:
        BadValue: an argument is out of range.
    """

    environments: Environments
    acts = True

    def __init__(
        self,
        shots: int = 20,
        queries: int = 20,
        train_shots: int | None = None,
        discount: float = 0.99,
        gae_lambda: float = 1.0,
        later_steps: float = 0.5,
        surrogate: str = "log_likelihood",
        oracle: bool = False,
        fill: bool = True,
        test_goals_seed: int | None = None,
    ) -> None:
        super().__init__(shots, queries, train_shots)
        require(queries >= 1, "queries", queries, "1 or more")
        require(0.0 <= discount <= 1.0, "discount", discount, "0 to 1")
        require(0.0 <= gae_lambda <= 1.0, "gae_lambda", gae_lambda, "0 to 1")
        require(later_steps > 0.0, "later_steps", later_steps, "more than 0")
        if test_goals_seed is not None:
            require(
                0 <= test_goals_seed < 2**32,
                "test_goals_seed",
                test_goals_seed,
                "0 to 2^32 - 1, or null",
            )
        if oracle:
            self.environments = GoalObserved(self.environments)
        self.oracle, self.fill = oracle, fill
        self.test_goals_seed = test_goals_seed
        horizon = self.environments.horizon
        self.examples_per_shot = horizon
        require(horizon >= 2, "horizon", horizon, "2 or more")
        self.objective = PolicyGradient(surrogate)
        self.input_shape = (self.environments.observation_size,)
        self.outputs = 2 * self.environments.action_size
        self.credit = Credit(discount, gae_lambda, later_steps)
        self.device = torch.device("cpu")

    @property
    @override
    def setting(self) -> str:
        return f"{self.train_shots}episodes" + ("_oracle" if self.oracle else "")

    @override
    def examples_in_words(self, shots: int, queries: int | str) -> str:
        return f"{number_of(shots, 'episode')} for each inner step, {queries} for each score"

    @property
    @override
    def simulator(self) -> dict[str, str]:
        """Environment and reward; package versions are recorded with every run anyway."""
        return {
            "environment": self.environments.name,
            "reward": self.environments.reward_in_words,
        }

    @override
    def load(self, device: torch.device) -> None:
        self.device = device

    @override
    def words(self, split: str, shots: int, queries: int) -> int:
        return self.environments.goal_words

    @override
    def numbers(self, split: str, first: int, u: np.ndarray) -> np.ndarray:
        if split != "test" or self.test_goals_seed is None:
            return u
        generator = np.random.RandomState(self.test_goals_seed)
        return generator.random_sample((first + len(u), u.shape[1]))[first:]

    @override
    def make(self, split: str, u: np.ndarray, shots: int, queries: int) -> TaskBatch:
        goals = self.environments.goals(u)
        # the query side is filled in training only: test returns are means over R episodes
        sides = [
            self._rollouts(goals, shots, side=0, fill=self.fill),
            self._rollouts(goals, queries, side=1, fill=self.fill and split == "train"),
        ]
        support, query = (cast(Examples, side) for side in sides)
        return TaskBatch(support, query, {"goal": goals})

    @override
    def sample(self, *arguments: Any, **options: Any) -> TaskBatch:
        """See `Dataset.sample`; the query side gets seeds too, because policies act in both."""
        tasks = super().sample(*arguments, **options)
        return replace(tasks, query=replace(tasks.query, seeds=tasks.support.seeds))

    def _rollouts(
        self, goals: np.ndarray, episodes: int, side: int, fill: bool = False
    ) -> Rollouts:
        values = Experience.size(self.environments.action_size)
        return Rollouts(
            torch.zeros(len(goals), 0, self.environments.observation_size, device=self.device),
            torch.zeros(len(goals), 0, values, device=self.device),
            self.environments,
            goals,
            episodes,
            self.credit,
            side,
            fill=fill,
        )


class Navigation2D(Control):
    """A point in the plane and a goal that it cannot see; see `PointEnvironments`.

    Args:
        horizon: steps of an episode.
        squared: reward −distance² instead of −distance.
        reach: goals are uniform in [-reach, reach]².
        options: the arguments of `Control`.

    Raises:
        BadValue: an argument is out of range.
    """

    def __init__(
        self, horizon: int = 100, squared: bool = False, reach: float = 0.5, **options: Any
    ) -> None:
        require(reach > 0.0, "reach", reach, "more than 0")
        self.environments = PointEnvironments(horizon, squared, reach)
        super().__init__(**options)
