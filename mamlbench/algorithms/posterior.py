"""Log densities of a posterior whose precisions are unknown too, each up to a constant."""

from __future__ import annotations

import math

from torch import Tensor

from mamlbench.errors import require


def check_priors(**given: tuple[float, tuple[float, float]]) -> None:
    """See that `<name>_variance` and `<name>_prior` can be those of precisions.

    Raises:
        BadValue: they cannot.
    """
    for name, (variance, _) in given.items():
        require(0 < variance < math.inf, f"{name}_variance", variance, "more than 0")
    for name, (_, prior) in given.items():
        accepted = "[shape, rate], both more than 0"
        require(min(prior) > 0, f"{name}_prior", list(prior), accepted)


def check_policies(acting: bool, temperature: float, leader_steps: int) -> None:
    """See that a posterior of policies, or of other networks, can have these.

    Raises:
        BadValue: it cannot.
    """
    require(0 < temperature < math.inf, "temperature", temperature, "more than 0")
    require(acting or temperature == 1, "temperature", temperature, "1, where no policy acts")
    accepted = "1, where a policy acts: the leader has met what the follower met"
    require(not acting or leader_steps == 1, "leader_steps", leader_steps, accepted)


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
