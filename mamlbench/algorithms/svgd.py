"""Stein variational gradient descent (Liu and Wang, 2016, arXiv 1608.04471) for many tasks at once.

The P particles of a task move together: along the gradient of the log posterior, smoothed by a
kernel, and away from one another, so that their distribution approaches the posterior.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BANDWIDTHS = ("org", "med", "mean")


def svgd(particles: Tensor, gradient: Tensor, bandwidth: str, exact: bool) -> Tensor:
    """The direction in which each particle moves (arXiv 1806.03836, section 2.2).

    φ(θ_m) = 1/P Σ_j [k(θ_j, θ_m) ∇ log p(θ_j) + ∇_{θ_j} k(θ_j, θ_m)]. A single particle has no
    kernel: it ascends its own gradient.

    Args:
        particles: θ, [T, P, D].
        gradient: of log p at each particle, [T, P, D].
        bandwidth: see `squared_bandwidth`.
        exact: see `rbf_kernel`.
    """
    count = particles.shape[1]
    if count == 1:
        return gradient
    kernel, repulsion = rbf_kernel(particles, bandwidth, exact)
    return (kernel @ gradient + repulsion) / count


def rbf_kernel(particles: Tensor, bandwidth: str, exact: bool) -> tuple[Tensor, Tensor]:
    """Kernel k = exp(-d²/h), [T, P, P], and the repulsion of the particles, [T, P, D].

    Args:
        particles: θ, [T, P, D], with P of 2 or more.
        bandwidth: see `squared_bandwidth`.
        exact: push particle m by Σ_j ∇_{θ_j} k(θ_j, θ_m) = 2/h Σ_j k(θ_j, θ_m) (θ_m - θ_j);
            otherwise by half of it, as the paper's released code for regression does.
    """
    # centring keeps the distances, and loses fewer digits below
    centred = particles - particles.mean(1, keepdim=True).detach()
    products = centred @ centred.mT
    squares = products.diagonal(dim1=1, dim2=2)
    distances = (squares.unsqueeze(2) + squares.unsqueeze(1) - 2 * products).clamp_min(0)
    h = squared_bandwidth(distances, bandwidth)[:, None, None]
    kernel = torch.exp(-distances / h)
    repulsion = (centred * kernel.sum(2, keepdim=True) - kernel @ centred) / h
    return kernel, 2 * repulsion if exact else repulsion


def squared_bandwidth(distances: Tensor, bandwidth: str) -> Tensor:
    """h of each task, [T], from squared distances [T, P, P].

    Gradients do not flow through the medians, as in the paper's released code for regression; they
    do flow through the mean, as in its code for reinforcement learning.

    Args:
        distances: of all pairs, zeros on the diagonal.
        bandwidth: `org`, the median of the whole matrix, zeros of the diagonal included, divided by
            log P, as in the paper's released code; `med`, the squared median distance between
            different particles, divided by log P; `mean`, their squared mean distance, divided by
            log(P + 1).
    """
    count = distances.shape[1]
    if bandwidth == "org":
        h = _median(distances.detach().flatten(1)) / math.log(count)
    else:
        first, second = torch.triu_indices(count, count, 1, device=distances.device).unbind()
        pairs = _root(distances[:, first, second])
        if bandwidth == "med":
            h = _median(pairs.detach()).square() / math.log(count)
        else:
            h = pairs.mean(1).square() / math.log(count + 1)
    return torch.where(h > 0, h, torch.ones_like(h))  # particles in one place: any width works


def _root(values: Tensor) -> Tensor:
    """Square roots with a gradient of 0 at 0, where it would be infinite."""
    apart = values > 0
    return torch.where(apart, values, 1.0).sqrt() * apart


def _median(values: Tensor) -> Tensor:
    """Median of each row; for an even number of values, the mean of the middle two."""
    ordered, size = values.sort(dim=1).values, values.shape[1]
    return (ordered[:, (size - 1) // 2] + ordered[:, size // 2]) / 2
