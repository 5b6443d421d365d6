"""Log densities of a posterior whose precisions are unknown too, each up to a constant."""

from __future__ import annotations

from torch import Tensor


def normal_log_density(squares: Tensor, count: int, log_precision: Tensor) -> Tensor:
    """log Π N(e_i; 0, 1/γ) = count/2 log γ - γ/2 Σ e_i², without the term of 2π.

    Args:
        squares: Σ e_i², any shape.
        count: how many values were squared.
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
    """Of weights [B, D] under N(0, 1/λ), and of the logarithms of λ and γ, [B]; gives [B]."""
    return (
        normal_log_density(weights.square().sum(1), weights.shape[1], log_lambda)
        + gamma_log_density(log_lambda, weight_prior)
        + gamma_log_density(log_gamma, noise_prior)
    )


def gamma_log_density(log_precision: Tensor, prior: tuple[float, float]) -> Tensor:
    """The density in log γ of γ ~ Gamma(shape a, rate b): a log γ - b γ.

    That in γ itself has a - 1 in the place of a; the change of variables adds the log γ.
    """
    shape, rate = prior
    return shape * log_precision - rate * log_precision.exp()
