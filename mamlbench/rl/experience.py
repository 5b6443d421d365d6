"""What a policy met, as examples that a learner adapts to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_VALUES_BESIDES_ACTION = 4


@dataclass(frozen=True)
class Experience:
    """What was done at each of the H steps of R episodes, and how well that was.

    As targets y of `Examples` it is one tensor [T, R*H, A + 4], episode after episode.

    Attributes:
        action: [T, R, H, A], in normalised units and as the policy drew it, not clipped.
        log_prob: [T, R, H] the logarithm of its density under the policy that drew it, in nats.
        advantage: [T, R, H] how much better than expected it was; 0 after the end.
        reward: [T, R, H], 0 after the end.
        alive: [T, R, H] 1 where the episode had not ended before this step, 0 after.
    """

    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    reward: Tensor
    alive: Tensor

    def targets(self) -> Tensor:
        """As y, [T, R*H, A + 4]."""
        rest = torch.stack([self.log_prob, self.advantage, self.reward, self.alive], dim=-1)
        return torch.cat([self.action, rest], dim=-1).flatten(1, 2)

    @staticmethod
    def size(action_size: int) -> int:
        """Values of one target, A + 4."""
        return action_size + _VALUES_BESIDES_ACTION

    @classmethod
    def of(cls, y: Tensor, horizon: int) -> Experience:
        """What `targets` gave, for episodes of `horizon` steps."""
        by_episode = y.unflatten(1, (-1, horizon))
        size = y.shape[-1] - _VALUES_BESIDES_ACTION
        return cls(by_episode[..., :size], *by_episode[..., size:].unbind(-1))

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values [T, R, H] over the steps of each task that were taken, [T]."""
        taken = self.alive.sum(dim=(1, 2)).clamp(min=1.0)
        return (values * self.alive).sum(dim=(1, 2)) / taken

    def mean_return(self) -> Tensor:
        """Mean of the sum of rewards, without discount, over the episodes that took a step, [T]."""
        return self.reward.sum(dim=(1, 2)) / self.alive[:, :, 0].sum(dim=1).clamp(min=1.0)
