"""The policy-gradient objective: the loss that adapts a policy, and the return as its metric."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.errors import one_of
from mamlbench.objectives import Objective
from mamlbench.rl.experience import Experience

SURROGATES = ("log_likelihood", "likelihood_ratio", "dice")


class PolicyGradient(Objective):
    """Minus a surrogate of the expected return, from the outputs of a Gaussian policy.

    With A_t the advantages of recorded actions, π the policy and π_0 the policy that recorded them,
    a task's loss is minus the mean over all steps taken, of all episodes, of

    - `log_likelihood`: log π(a_t|s_t) A_t, as in the inner loop of MAML's code;
    - `likelihood_ratio`: π(a_t|s_t) / π_0(a_t|s_t) A_t (arXiv 1810.06784, section 5);
    - `dice`: (w_t − w_{t−1}) A_t, where w_t = Π_{u≤t} π(a_u|s_u) / π_0(a_u|s_u) and w_{−1} = 1
      (arXiv 1802.05098 for the operator; arXiv 1909.10549, equation 11, for advantages).

    At π = π_0 all three have the same gradient, the policy gradient. They differ in its derivative,
    which MAML's meta-gradient contains: the first ignores how the policy changes its experience;
    the second accounts for each action separately, with low variance; the third accounts for all
    of it.

    Args:
        surrogate: one of these names.

    Raises:
        BadValue: the surrogate is unknown.
    """

    metric = "return"
    higher_is_better = True

    def __init__(self, surrogate: str = "log_likelihood") -> None:
        one_of("surrogate", surrogate, SURROGATES)
        self.kind = surrogate

    @override
    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        met = Experience.of(y)
        log_prob = normal_log_prob(outputs, met.action)
        if self.kind == "log_likelihood":
            return -met.mean(log_prob * met.advantage)
        apart = (log_prob - met.log_prob) * met.taken
        if self.kind == "likelihood_ratio":
            return -met.mean(apart.exp() * met.advantage)
        through = met.summed(apart)
        return -met.mean((through.exp() - (through - apart).exp()) * met.advantage)

    def surrogate(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Estimated gain of a policy over the nearby one that recorded the actions, [T].

        The mean of π/π_0 A, which a trust region maximises whatever the inner loop's surrogate.
        """
        met = Experience.of(y)
        ratio = (normal_log_prob(outputs, met.action) - met.log_prob).exp()
        return met.mean(ratio * met.advantage)

    def divergence(self, old: Tensor, new: Tensor, y: Tensor) -> Tensor:
        """Mean of KL(old policy || new policy) over the steps taken, [T].

        Args:
            old: [T, M, 2A], outputs of the old policy.
            new: [T, M, 2A], outputs of the new policy.
            y: [T, M, A + 4], which tells which steps were taken.
        """
        return Experience.of(y).mean(normal_divergence(old, new))

    @override
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """`return`, the mean undiscounted return of the episodes; `loss` is minus `return`.

        Both describe the policies that acted, whatever the outputs, except that they are NaN where
        outputs are not finite. With P particles, each with its own experience, y [T, P, M, A + 4],
        `return` is their mean and `return_of_best_particle` their maximum.
        """
        gone = 0.0 * outputs.sum(dim=(1, 2, 3))
        met = Experience.of(y.flatten(0, -3))
        by_particle = met.mean_return().reshape(len(y), -1)
        result = by_particle.mean(1) + gone
        found = {"loss": -result, "return": result}
        if by_particle.shape[1] > 1:
            found["return_of_best_particle"] = by_particle.amax(1) + gone
        return found


def normal_log_prob(outputs: Tensor, actions: Tensor) -> Tensor:
    """Log-density in nats, [...], of actions [..., A] for outputs [..., 2A]: means and log sds."""
    mean, log_sd = outputs.chunk(2, dim=-1)
    z = (actions - mean) * torch.exp(-log_sd)
    return -(0.5 * z.square() + log_sd + 0.5 * math.log(2.0 * math.pi)).sum(-1)


def normal_divergence(old: Tensor, new: Tensor) -> Tensor:
    """KL(old || new) in nats, [...], of policies with outputs [..., 2A]."""
    old_mean, old_log_sd = old.chunk(2, dim=-1)
    mean, log_sd = new.chunk(2, dim=-1)
    squares = (2.0 * old_log_sd).exp() + (old_mean - mean).square()
    return (log_sd - old_log_sd + 0.5 * squares * (-2.0 * log_sd).exp() - 0.5).sum(-1)
