"""A policy's experience, as examples that a learner adapts to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_VALUES_BESIDES_ACTION = 4


@dataclass(frozen=True)
class Experience:
    """The actions at M steps of several episodes, and how good they were.

    `targets` packs them as y of `Examples`: one tensor [T, M, A + 4], episode after episode. A task
    that took fewer than M steps has empty rows, with number 0.

    Attributes:
        action: [T, M, A], in normalised units and as the policy drew it, not clipped.
        log_prob: [T, M], the action's log-density under the policy that drew it, in nats.
        advantage: [T, M], how much better than expected the action was; 0 in empty rows.
        reward: [T, M], 0 in empty rows.
        number: [T, M], the step's number in its episode, from 1; 0 in empty rows.
    """

    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    reward: Tensor
    number: Tensor

    def targets(self) -> Tensor:
        """All values as targets y, [T, M, A + 4]."""
        rest = torch.stack([self.log_prob, self.advantage, self.reward, self.number], dim=-1)
        return torch.cat([self.action, rest], dim=-1)

    @staticmethod
    def size(action_size: int) -> int:
        """Values of one target, A + 4."""
        return action_size + _VALUES_BESIDES_ACTION

    @classmethod
    def of(cls, y: Tensor) -> Experience:
        """The inverse of `targets`."""
        size = y.shape[-1] - _VALUES_BESIDES_ACTION
        return cls(y[..., :size], *y[..., size:].unbind(-1))

    @property
    def taken(self) -> Tensor:
        """1 where there is a step, 0 in empty rows, [T, M]."""
        return (self.number > 0).to(self.number)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values [T, M] over the steps of each task, [T]."""
        taken = self.taken
        return (values * taken).sum(dim=1) / taken.sum(dim=1).clamp(min=1.0)

    def summed(self, values: Tensor) -> Tensor:
        """Cumulative sums of values [T, M] within each episode, [T, M]."""
        sums = torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(dim=1)], dim=1)
        row = torch.arange(values.shape[1], device=values.device)
        begin = (row - self.number.long() + 1).clamp(max=values.shape[1])
        return sums[:, 1:] - sums.gather(1, begin)

    def mean_return(self) -> Tensor:
        """Mean undiscounted return over the episodes, [T]."""
        episodes = (self.number == 1).sum(dim=1)
        return self.reward.sum(dim=1) / episodes.clamp(min=1)


class Steps:
    """The steps taken in R episodes of T tasks, one after another: M rows per task.

    M is the largest number of steps that a task took; other tasks have empty rows.

    Args:
        alive: [T, R, H] 1 where the episode had not ended before this step, 0 after.
    """

    def __init__(self, alive: Tensor) -> None:
        self._episodes = alive.shape
        flat = alive.flatten(1)
        most = int(flat.sum(dim=1).max())
        self._places: Tensor | None = None  # None: all rows are kept
        if most < flat.shape[1]:
            self._places = flat.argsort(dim=1, descending=True, stable=True)[:, :most]
        number = torch.arange(1, alive.shape[2] + 1).to(alive)
        self.number = self.rows(alive * number)
        """Each step's number in its episode, [T, M], from 1; 0 in empty rows."""

    def rows(self, values: Tensor) -> Tensor:
        """Values [T, R, H, ...] by episode, arranged as rows [T, M, ...]."""
        flat = values.flatten(1, 2)
        if self._places is None:
            return flat
        places = self._places.reshape(*self._places.shape, *[1] * (flat.dim() - 2))
        return flat.gather(1, places.expand(-1, -1, *flat.shape[2:]))

    def by_episode(self, rows: Tensor) -> Tensor:
        """Rows [T, M] arranged by episode, [T, R, H]; 0 where there is no row."""
        if self._places is None:
            return rows.reshape(self._episodes)
        empty = rows.new_zeros(rows.shape[0], self._episodes[1:].numel())
        return empty.scatter(1, self._places, rows).reshape(self._episodes)
