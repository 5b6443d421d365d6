"""Episodes of a policy that is being adapted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamlbench import noise
from mamlbench.networks.base import Params, forward
from mamlbench.networks.layers import Rows
from mamlbench.rl.advantages import advantages, discounted_sums, fitted_values
from mamlbench.rl.environments.base import Environments
from mamlbench.rl.experience import Experience, Steps
from mamlbench.rl.objective import normal_log_prob
from mamlbench.tasks import Examples

_MOST_TURNS = 16
"""The most rounds of episodes; if episodes average under 1/16 of the horizon, steps are too few."""


@dataclass(frozen=True)
class Credit:
    """How rewards become advantages.

    Attributes:
        discount: of rewards, per step.
        gae_lambda: λ of generalised advantages; 1 gives the return minus the baseline.
        later_steps: factor on advantages from the second inner step on; under gradient descent it
            scales the step size.
        pooled: fit one baseline to all tasks and standardise advantages over all of them, instead
            of task by task.
    """

    discount: float = 0.99
    gae_lambda: float = 1.0
    later_steps: float = 1.0
    pooled: bool = False

    def advantages(self, observations: Tensor, reward: Tensor, alive: Tensor) -> Tensor:
        """Advantages [T, R, H] of T policies' episodes; see `mamlbench.rl.advantages`."""
        shape, given = reward.shape, [observations, reward, alive]
        if self.pooled:
            given = [values.flatten(0, 1).unsqueeze(0) for values in given]
        observations, reward, alive = given
        steps = Steps(alive)
        returns = steps.rows(discounted_sums(reward, self.discount))
        values = fitted_values(steps.rows(observations), returns, steps.number)
        baseline = steps.by_episode(values)
        found = advantages(reward, baseline, alive, self.discount, self.gae_lambda)
        return found.reshape(shape)


@dataclass(frozen=True)
class Rollouts:
    """The support or query side of T tasks; a policy makes its examples anew at each inner step.

    The examples depend only on the parameters, the tasks' seeds, the side and the inner step, not
    on earlier draws.

    Attributes:
        x: [T, 0, D], empty; gives the number of tasks, the device and the type.
        y: [T, 0, A + 4], empty.
        environments: where to act.
        goals: [T, ...], as the environments gave them.
        episodes: R of each task.
        credit: how rewards become advantages.
        side: 0 for support, 1 for query.
        seeds: [T] int64.
        network: the policy, set by `acting`.
        particles: P, policies per task, each of which acts in its own R episodes.
        fill: act for R*H steps: if episodes end early, tasks in which a policy has taken fewer
            steps get R further episodes at a time. Episodes that start after a policy has taken
            its R*H steps do not count: they are not alive at any step.
    """

    x: Tensor
    y: Tensor
    environments: Environments
    goals: np.ndarray
    episodes: int
    credit: Credit
    side: int
    seeds: np.ndarray | None = None
    network: nn.Module | None = None
    particles: int = 1
    fill: bool = False

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, tasks: slice | np.ndarray) -> Rollouts:
        seeds = None if self.seeds is None else self.seeds[tasks]
        x, y, goals = self.x[tasks], self.y[tasks], self.goals[tasks]
        return replace(self, x=x, y=y, goals=goals, seeds=seeds)

    @torch.no_grad()
    def __call__(self, step: int, params: Params) -> Examples:
        """The experience of policies with these parameters: x [T, M, D], y [T, M, A + 4].

        M is R*H if no episode ends early; see `Experience`. With `fill` there may be more than R
        episodes. With P > 1 particles, x is [T, P, M, D] and y [T, P, M, A + 4].

        Args:
            step: inner steps taken so far.
            params: as `networks.base.forward` takes them.
        """
        observations, action, log_prob, reward, alive = self._met(step, params)
        advantage = self.credit.advantages(observations, reward, alive)
        if step > 0 and self.side == 0:
            advantage = self.credit.later_steps * advantage
        steps = Steps(alive)
        x = steps.rows(observations)
        action, log_prob, advantage, reward = map(steps.rows, (action, log_prob, advantage, reward))
        y = Experience(action, log_prob, advantage, reward, steps.number).targets()
        if self.particles > 1:
            x, y = (values.unflatten(0, (-1, self.particles)) for values in (x, y))
        return Examples(x, y, self.seeds)

    def _met(self, step: int, params: Params) -> list[Tensor]:
        """Results of `_act` for all rounds of episodes, [T*P, R * rounds, H, ...]."""
        steps = self.episodes * self.environments.horizon
        turns: list[list[Tensor]] = []
        taken = self.x.new_zeros(1)
        tasks = np.arange(len(self))
        while len(tasks) and len(turns) < (_MOST_TURNS if self.fill else 1):
            turns.append(self._turn(step, params, len(turns), tasks))
            taken = taken + turns[-1][-1].sum(dim=(1, 2))
            short = (taken < steps).unflatten(0, (-1, self.particles)).any(dim=1)
            tasks = np.flatnonzero(short.cpu().numpy())
        met = [torch.cat(values, dim=1) for values in zip(*turns, strict=True)]
        if self.fill:
            *rest, reward, alive = met
            before = F.pad(alive.sum(dim=2).cumsum(dim=1)[:, :-1], (1, 0))
            needed = (before < steps).to(alive).unsqueeze(-1)
            met = [*rest, reward * needed, alive * needed]
        return met

    def _turn(self, step: int, params: Params, turn: int, tasks: np.ndarray) -> list[Tensor]:
        """Results of `_act` for some tasks, by policy, zeros for the others: [T*P, R, H, ...]."""
        if len(tasks) == len(self):
            return [self._by_policy(values) for values in self._act(step, params, turn)]
        shared = {} if self.network is None else dict(self.network.named_parameters())
        # parameters that differ between tasks have one more dimension
        theirs = {
            name: p.unflatten(0, (len(self), -1))[tasks].flatten(0, 1)
            if p.dim() > shared[name].dim()
            else p
            for name, p in params.items()
        }
        found = []
        for values in self[tasks]._act(step, theirs, turn):
            of_all = values.new_zeros(len(self), *values.shape[1:])
            of_all[tasks] = values
            found.append(self._by_policy(of_all))
        return found

    def _by_policy(self, values: Tensor) -> Tensor:
        """Values [T, P*R, ...] by task, arranged by policy, [T*P, R, ...]."""
        return values.unflatten(1, (self.particles, -1)).flatten(0, 1)

    def _act(self, step: int, params: Params, turn: int) -> list[Tensor]:
        """Observations, actions, their log-densities, rewards and `alive`, [T, P*R, H, ...]."""
        if self.network is None:
            raise TypeError("a policy has to be given first, by mamlbench.rl.gathering.acting")
        place = _place(self.side, step, turn)
        horizon, size = self.environments.horizon, self.environments.action_size
        start = Examples(self.x, self.y, self.seeds)
        episodes = self.particles * self.episodes
        drawn = noise.normal(start, (horizon, episodes, size), place, like=self.x)
        seeds = self._seeds(place)
        observed = self.environments.reset(self.goals, episodes, seeds).to(self.x)
        alive = torch.ones_like(observed[..., 0])
        met: list[tuple[Tensor, ...]] = []
        for numbers in drawn.unbind(1):
            outputs = forward(self.network, params, self._by_policy(observed), Rows())
            outputs = outputs.reshape(len(self), episodes, -1)
            mean, log_sd = outputs.chunk(2, dim=-1)
            action = mean + log_sd.exp() * numbers
            # environments need not accept non-finite actions: act with 0, and reward with NaN
            finite = torch.isfinite(action).all(-1)
            following, reward, done = self.environments.step(
                action.masked_fill(~finite.unsqueeze(-1), 0.0)
            )
            reward = reward.to(self.x).masked_fill(~finite, torch.nan) * alive
            met.append((observed, action, normal_log_prob(outputs, action), reward, alive))
            observed, alive = following.to(self.x), alive * ~done.to(self.x.device)
            if not alive.any():
                break
        left = horizon - len(met)
        return [_longer(torch.stack(values, dim=2), left) for values in zip(*met, strict=True)]

    def _seeds(self, place: int) -> np.ndarray:
        """Seeds [T] int64 for the environments, kept non-negative if the sum overflows."""
        seeds = np.arange(len(self)) if self.seeds is None else self.seeds
        return (seeds + np.int64(place)) & np.int64(2**63 - 1)


def _longer(values: Tensor, steps: int) -> Tensor:
    """Values [T, R, H, ...], padded with zeros for further steps."""
    return torch.cat([values, values.new_zeros(*values.shape[:2], steps, *values.shape[3:])], dim=2)


def _place(side: int, step: int, turn: int = 0) -> int:
    """A unique number for each side, step and turn, far from those that algorithms use."""
    return (1 << 40) + (side << 32) + (turn << 20) + step
