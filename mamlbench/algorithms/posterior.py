"""Log densities, up to a constant, of a posterior over weights and precisions."""

from __future__ import annotations

from torch import Tensor


def normal_log_density(squares: Tensor, count: int, log_precision: Tensor) -> Tensor:
    """log Π N(e_i; 0, 1/γ) = count/2 log γ - γ/2 Σ e_i², without the term of 2π.

    Args:
        squares: Σ e_i², any shape.
        count: number of the values e_i.
        log_precision: log γ, of the same shape.
    """
    return 0.5 * (count * log_precision - log_precision.exp() * squares)


def log_prior(
    weights: Tensor,
    log_lambda: Tensor,
    log_gamma: Tensor,
    weight_prior: tuple[float, float],
    noise_prior: tuple[float, float],
) -> Tensor:
    """Log prior [B] of weights [B, D] under N(0, 1/λ), and of log λ and log γ, [B] each."""
    return (
        normal_log_density(weights.square().sum(1), weights.shape[1], log_lambda)
        + gamma_log_density(log_lambda, weight_prior)
        + gamma_log_density(log_gamma, noise_prior)
    )


def gamma_log_density(log_precision: Tensor, prior: tuple[float, float]) -> Tensor:
    """Log density, over log γ, of γ ~ Gamma(shape a, rate b): a log γ - b γ.

    The density over γ itself has a - 1 in place of a; the change of variables adds log γ.
    """
    shape, rate = prior
    return shape * log_precision - rate * log_precision.exp()
