"""The policy-gradient objective against densities of others and derivatives by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from mamlbench.errors import BadValue
from mamlbench.rl.experience import Experience
from mamlbench.rl.objective import (
    SURROGATES,
    PolicyGradient,
    normal_divergence,
    normal_log_prob,
)

T, R, H, A = 2, 3, 4, 2


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def as_distribution(outputs):
    mean, log_sd = outputs.chunk(2, dim=-1)
    return Independent(Normal(mean, log_sd.exp()), 1)


@pytest.fixture
def met():
    """Outputs that recorded, and what they met; two episodes end early."""
    outputs, action = random(T, R, H, 2 * A), random(T, R, H, A, seed=1)
    alive = torch.ones(T, R, H, dtype=torch.float64)
    alive[0, 1, 2:] = alive[1, 2, 1:] = 0.0
    advantage, reward = random(T, R, H, seed=2) * alive, random(T, R, H, seed=3) * alive
    log_prob = as_distribution(outputs).log_prob(action)
    return outputs.flatten(1, 2), Experience(action, log_prob, advantage, reward, alive)


def test_densities_and_divergences_are_torchs():
    old, new, action = random(5, 6), random(5, 6, seed=1), random(5, 3, seed=2)
    torch.testing.assert_close(normal_log_prob(old, action), as_distribution(old).log_prob(action))
    torch.testing.assert_close(
        normal_divergence(old, new), kl_divergence(as_distribution(old), as_distribution(new))
    )


def test_targets_hold_all(met):
    _, experience = met
    again = Experience.of(experience.targets(), H)
    for name in ("action", "log_prob", "advantage", "reward", "alive"):
        assert torch.equal(getattr(again, name), getattr(experience, name)), name


def test_returns_by_hand():
    reward = torch.tensor([[[-1.0, -2.0], [-4.0, 0.0]]])
    one = torch.ones(1, 2, 2)
    y = Experience(torch.zeros(1, 2, 2, 1), one, one, reward, one).targets()
    metrics = PolicyGradient(2).metrics(torch.zeros(1, 1, 4, 2), y)
    assert metrics == {"loss": torch.tensor([3.5]), "return": torch.tensor([-3.5])}


def test_losses_are_means_over_the_steps_taken(met):
    """Against plain loops over tasks, episodes and steps, away from the recording policy."""
    outputs, experience = met
    outputs = outputs + 0.1 * random(*outputs.shape, seed=7)
    log_prob = as_distribution(outputs.unflatten(1, (R, H))).log_prob(experience.action)
    found = {
        kind: PolicyGradient(H, kind).loss(outputs, experience.targets()) for kind in SURROGATES
    }
    for task in range(T):
        sums, count = dict.fromkeys(SURROGATES, 0.0), 0
        for episode in range(R):
            through = 1.0
            for t in range(H):
                place = task, episode, t
                if not experience.alive[place]:
                    continue
                gain = float(experience.advantage[place])
                ratio = math.exp(float(log_prob[place] - experience.log_prob[place]))
                sums["log_likelihood"] += float(log_prob[place]) * gain
                sums["likelihood_ratio"] += ratio * gain
                sums["dice"] += (through * ratio - through) * gain
                through *= ratio
                count += 1
        for kind, value in sums.items():
            assert float(found[kind][task]) == pytest.approx(-value / count, rel=1e-9), kind


def test_all_surrogates_have_the_policy_gradient(met):
    outputs, experience = met
    gradients = []
    for kind in SURROGATES:
        leaf = outputs.clone().requires_grad_()
        loss = PolicyGradient(H, kind).loss(leaf, experience.targets()).sum()
        gradients.append(torch.autograd.grad(loss, leaf)[0])
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])


def test_second_derivatives_differ_as_they_should():
    """One parameter m, the mean; π = N(m, 1), an episode of two steps, u = a − m at m = 0.

    With ∇log π = u and ∇²log π = −1, the sum over t of A_t times: −1; u_t² − 1; and, for DiCE,
    (Σ_{k≤t} u_k)² − (Σ_{k<t} u_k)² − 1.
    """
    u, gain = [0.5, -2.0], [3.0, 7.0]
    expected = {
        "log_likelihood": -3.0 - 7.0,
        "likelihood_ratio": 3.0 * (0.25 - 1.0) + 7.0 * (4.0 - 1.0),
        "dice": 3.0 * (0.25 - 1.0) + 7.0 * ((0.5 - 2.0) ** 2 - 0.25 - 1.0),
    }
    action = torch.tensor(u, dtype=torch.float64).reshape(1, 1, 2, 1)
    advantage = torch.tensor([[gain]], dtype=torch.float64)
    one = torch.ones_like(advantage)
    log_prob = Normal(0.0, 1.0).log_prob(action).sum(-1)
    y = Experience(action, log_prob, advantage, one, one).targets()
    for kind, value in expected.items():

        def total(m, kind=kind):
            outputs = torch.stack([m, torch.zeros_like(m)]).expand(1, 2, 2)
            return -2.0 * PolicyGradient(2, kind).loss(outputs, y).sum()  # two steps: sum, not mean

        second = torch.autograd.functional.hessian(total, torch.zeros((), dtype=torch.float64))
        assert float(second) == pytest.approx(value), kind


def test_an_unknown_surrogate():
    with pytest.raises(BadValue, match=r"surrogate=dise: .*did you mean 'dice'"):
        PolicyGradient(2, "dise")
