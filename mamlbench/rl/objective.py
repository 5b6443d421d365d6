"""The policy-gradient objective: what adapts a policy, and the return that judges it."""

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
    """Minus a surrogate of the expected return; outputs are those of a Gaussian policy.

    With advantages A_t of recorded actions, π the policy and π_0 the one that recorded them, a
    task's loss is minus the mean over all steps taken, of all episodes, of

    - `log_likelihood`: log π(a_t|s_t) A_t, as MAML's code has it in its inner loop;
    - `likelihood_ratio`: π(a_t|s_t) / π_0(a_t|s_t) A_t (arXiv 1810.06784, section 5);
    - `dice`: (w_t − w_{t−1}) A_t, where w_t = Π_{u≤t} π(a_u|s_u) / π_0(a_u|s_u) and w_{−1} = 1
      (arXiv 1802.05098 for the operator; arXiv 1909.10549, equation 11, for advantages).

    At π = π_0 all three have the same gradient, the policy gradient. They differ in its derivative,
    which MAML's meta-gradient takes: the first leaves out how the policy changes what is met; the
    second has it for each action by itself, with little variance; the third has all of it.

    Args:
        surrogate: one of these.

    Raises:
        BadValue: an unknown surrogate.
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
        """What a policy near the one that recorded is expected to gain over it, [T].

        The mean of π/π_0 A, which a trust region maximises whichever surrogate the inner loop has.
        """
        met = Experience.of(y)
        ratio = (normal_log_prob(outputs, met.action) - met.log_prob).exp()
        return met.mean(ratio * met.advantage)

    def divergence(self, old: Tensor, new: Tensor, y: Tensor) -> Tensor:
        """Mean KL divergence of new from old policy, KL(old || new), over the steps taken, [T].

        Args:
            old: [T, M, 2A] outputs of the old policy.
            new: [T, M, 2A] outputs of the new one.
            y: [T, M, A + 4], which says what steps were taken.
        """
        return Experience.of(y).mean(normal_divergence(old, new))

    @override
    def metrics(self, outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
        """`return`, the sum of rewards without discount, mean over episodes; `loss` is minus that.

        Both are of the policies that acted, whatever the outputs; they are NaN where those are not
        finite. Of P particles each with what it met, y [T, P, M, A + 4], it is the mean, and
        `return_of_best_particle` the highest.
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
    """Log-density in nats, [...], of actions [..., A] under outputs [..., 2A] (means, log sds)."""
    mean, log_sd = outputs.chunk(2, dim=-1)
    z = (actions - mean) * torch.exp(-log_sd)
    return -(0.5 * z.square() + log_sd + 0.5 * math.log(2.0 * math.pi)).sum(-1)


def normal_divergence(old: Tensor, new: Tensor) -> Tensor:
    """KL(old || new) in nats, [...], of two outputs [..., 2A]."""
    old_mean, old_log_sd = old.chunk(2, dim=-1)
    mean, log_sd = new.chunk(2, dim=-1)
    squares = (2.0 * old_log_sd).exp() + (old_mean - mean).square()
    return (log_sd - old_log_sd + 0.5 * squares * (-2.0 * log_sd).exp() - 0.5).sum(-1)
