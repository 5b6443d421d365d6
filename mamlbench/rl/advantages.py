"""Returns, a linear baseline, and advantages, for all tasks and episodes at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RIDGE = 1e-5
"""On the weights of the baseline; its fit is a sum over steps, not a mean (as in rllab)."""
_FURTHEST = 10.0
_EPSILON = 1e-8


def discounted_sums(values: Tensor, discount: float) -> Tensor:
    """Σ_k discount^k values_{t+k} to the end of each row, for values [..., H]."""
    sums, following = [], torch.zeros_like(values[..., 0])
    for value in reversed(values.unbind(-1)):
        following = value + discount * following
        sums.append(following)
    return torch.stack(sums[::-1], dim=-1)


def features(observations: Tensor, number: Tensor) -> Tensor:
    """Observation, its squares, time up to its cube, and 1: [T, M, D] to [T, M, 2D + 4].

    Observations are clipped to ±10; the unit of time is a hundred steps (arXiv 1604.06778,
    appendix; constants as in rllab).

    Args:
        observations: [T, M, D].
        number: [T, M] of each step in its episode, from 1.
    """
    near = observations.clamp(-_FURTHEST, _FURTHEST)
    steps = (number - 1.0) / 100.0
    time = torch.stack([steps, steps**2, steps**3, torch.ones_like(steps)], dim=-1)
    return torch.cat([near, near.square(), time], dim=-1)


def fitted_values(observations: Tensor, returns: Tensor, number: Tensor) -> Tensor:
    """Returns as ridge regression on `features` has them, fitted to each task by itself.

    Args:
        observations: [T, M, D].
        returns: [T, M] what to fit.
        number: [T, M] of each step in its episode, from 1; 0 for what does not count.

    Returns:
        [T, M], 0 where a row does not count.
    """
    counts = number > 0
    # squares of observations against their products' rounding: double, however the policy computes
    x = (features(observations, number) * counts.unsqueeze(-1)).double()
    y = (returns * counts).unsqueeze(-1).double()
    ridge = RIDGE * torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    # one task after another: a batch's LU goes wrong on several threads (pytorch issue 142815);
    # solve_ex, for a task whose observations are not finite shall end no other's
    equations = zip(x.mT @ x + ridge, x.mT @ y, strict=True)
    weights = torch.stack([torch.linalg.solve_ex(*each)[0] for each in equations])
    return (x @ weights).squeeze(-1).to(returns.dtype)


def advantages(
    rewards: Tensor, values: Tensor, alive: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Generalised advantages (arXiv 1506.02438, equation 16), standardised over each task's steps.

    A_t = Σ_k (discount·λ)^k δ_{t+k} with δ_t = r_t + discount·V_{t+1} − V_t; V is 0 after an
    episode's end, whether it was ended or ran out of time. With λ = 1, A_t is the return less V_t.

    Args:
        rewards: [T, R, H], 0 after the end.
        values: [T, R, H] the baseline V.
        alive: [T, R, H].
        discount: of rewards, for each step.
        gae_lambda: λ.

    Returns:
        [T, R, H] of mean 0 and standard deviation 1 over the steps taken, and 0 at the others.
    """
    values = values * alive
    following = F.pad(values[..., 1:], (0, 1))
    raw = discounted_sums(rewards + discount * following - values, discount * gae_lambda)
    return standardised(raw, alive)


def standardised(values: Tensor, alive: Tensor) -> Tensor:
    """Values [T, R, H] less their mean over a task's steps taken, in units of their deviation."""
    count = alive.sum(dim=(1, 2), keepdim=True).clamp(min=1.0)
    centred = (values - (values * alive).sum(dim=(1, 2), keepdim=True) / count) * alive
    deviation = (centred.square().sum(dim=(1, 2), keepdim=True) / count).sqrt()
    return centred / (deviation + _EPSILON)
