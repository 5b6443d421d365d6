"""Returns, a linear baseline, and advantages, for all tasks and episodes at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RIDGE = 1e-5
"""Penalty on the baseline's weights; squared errors are summed, not averaged (as in rllab)."""
_FURTHEST = 10.0
_EPSILON = 1e-8


def discounted_sums(values: Tensor, discount: float) -> Tensor:
    """Σ_k discount^k values_{t+k}, up to the end of each row, for values [..., H]."""
    sums, following = [], torch.zeros_like(values[..., 0])
    for value in reversed(values.unbind(-1)):
        following = value + discount * following
        sums.append(following)
    return torch.stack(sums[::-1], dim=-1)


def features(observations: Tensor, number: Tensor) -> Tensor:
    """Observations, their squares, time up to its cube, and 1: [T, M, D] to [T, M, 2D + 4].

    Observations are clipped to ±10; the unit of time is a hundred steps (arXiv 1604.06778,
    appendix; constants as in rllab).

    Args:
        observations: [T, M, D].
        number: [T, M], each step's number in its episode, from 1.
    """
    near = observations.clamp(-_FURTHEST, _FURTHEST)
    steps = (number - 1.0) / 100.0
    time = torch.stack([steps, steps**2, steps**3, torch.ones_like(steps)], dim=-1)
    return torch.cat([near, near.square(), time], dim=-1)


def fitted_values(observations: Tensor, returns: Tensor, number: Tensor) -> Tensor:
    """Returns predicted by ridge regression on `features`, fitted to each task separately.

    Args:
        observations: [T, M, D].
        returns: [T, M], the regression targets.
        number: [T, M], each step's number in its episode, from 1; 0 in rows to ignore.

    Returns:
        [T, M], 0 in ignored rows.
    """
    counts = number > 0
    # always double: float32 would round the products of squared observations too much
    x = (features(observations, number) * counts.unsqueeze(-1)).double()
    y = (returns * counts).unsqueeze(-1).double()
    ridge = RIDGE * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    # one task at a time: batched LU is wrong on several threads (pytorch issue 142815);
    # solve_ex does not raise, so a task with non-finite observations does not stop the others
    equations = zip(x.mT @ x + ridge, x.mT @ y, strict=True)
    weights = torch.stack([torch.linalg.solve_ex(*each)[0] for each in equations])
    return (x @ weights).squeeze(-1).to(returns.dtype)


def advantages(
    rewards: Tensor, values: Tensor, alive: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Generalised advantages (arXiv 1506.02438, equation 16), standardised over each task's steps.

    A_t = Σ_k (discount·λ)^k δ_{t+k} with δ_t = r_t + discount·V_{t+1} − V_t; V is 0 after an
    episode's end, whether it terminated or ran out of time. With λ = 1, A_t is the return minus
    V_t.

    Args:
        rewards: [T, R, H], 0 after the end.
        values: [T, R, H], the baseline V.
        alive: [T, R, H], 1 for steps taken, else 0.
        discount: of rewards, per step.
        gae_lambda: λ.

    Returns:
        [T, R, H], with mean 0 and standard deviation 1 over a task's steps taken; 0 elsewhere.
    """
    values = values * alive
    following = F.pad(values[..., 1:], (0, 1))
    raw = discounted_sums(rewards + discount * following - values, discount * gae_lambda)
    return standardised(raw, alive)


def standardised(values: Tensor, alive: Tensor) -> Tensor:
    """Values [T, R, H] with mean 0, standard deviation 1 over a task's steps taken; 0 elsewhere."""
    count = alive.sum(dim=(1, 2), keepdim=True).clamp(min=1.0)
    centred = (values - (values * alive).sum(dim=(1, 2), keepdim=True) / count) * alive
    deviation = (centred.square().sum(dim=(1, 2), keepdim=True) / count).sqrt()
    return centred / (deviation + _EPSILON)
