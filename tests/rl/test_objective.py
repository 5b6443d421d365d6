"""The policy-gradient objective against torch's densities and derivatives by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from mamlbench.errors import BadValue
from mamlbench.rl.experience import Experience, Steps
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
    """The recording policy's outputs and experience; one episode per task ends early."""
    outputs, action = random(T, R, H, 2 * A), random(T, R, H, A, seed=1)
    alive = torch.ones(T, R, H, dtype=torch.float64)
    alive[0, 1, 2:] = alive[1, 0, 1:] = 0.0
    advantage, reward = random(T, R, H, seed=2) * alive, random(T, R, H, seed=3) * alive
    log_prob = as_distribution(outputs).log_prob(action)
    steps = Steps(alive)
    values = (steps.rows(given) for given in (action, log_prob, advantage, reward))
    return steps.rows(outputs), Experience(*values, steps.number)


def test_steps_are_rows_episode_after_episode():
    alive = torch.tensor([[[1.0, 1, 1], [1, 0, 0]], [[1, 1, 0], [1, 0, 0]]])
    values = torch.arange(12.0).reshape(2, 2, 3)
    steps = Steps(alive)
    assert steps.number.tolist() == [[1, 2, 3, 1], [1, 2, 1, 0]]
    rows = steps.rows(values)
    assert rows[0].tolist() == [0, 1, 2, 3]
    assert rows[1, :3].tolist() == [6, 7, 9]
    assert torch.equal(steps.rows(torch.stack([values, -values], dim=-1))[..., 1], -rows)
    back = steps.by_episode(rows * (steps.number > 0))
    assert torch.equal(back, values * alive)
    whole = Steps(torch.ones(2, 2, 3))
    assert torch.equal(whole.rows(values), values.flatten(1))
    assert torch.equal(whole.by_episode(values.flatten(1)), values)


def test_sums_begin_anew_with_each_episode():
    number = torch.tensor([[1.0, 2, 3, 1, 2], [1, 1, 1, 0, 0]])
    zero = torch.zeros(2, 5)
    values = torch.tensor([[1.0, 2, 4, 8, 16], [1, 2, 4, 0, 0]])
    summed = Experience(zero.unsqueeze(-1), zero, zero, zero, number).summed(values)
    assert summed.tolist() == [[1, 3, 7, 8, 24], [1, 2, 4, 0, 0]]


def test_densities_and_divergences_are_torchs():
    old, new, action = random(5, 6), random(5, 6, seed=1), random(5, 3, seed=2)
    torch.testing.assert_close(normal_log_prob(old, action), as_distribution(old).log_prob(action))
    torch.testing.assert_close(
        normal_divergence(old, new), kl_divergence(as_distribution(old), as_distribution(new))
    )


def test_targets_hold_all(met):
    _, experience = met
    again = Experience.of(experience.targets())
    for name in ("action", "log_prob", "advantage", "reward", "number"):
        assert torch.equal(getattr(again, name), getattr(experience, name)), name


def test_returns_by_hand():
    reward, one = torch.tensor([[-1.0, -2.0, -4.0, 0.0]]), torch.ones(1, 4)
    number = torch.tensor([[1.0, 2, 1, 0]])
    y = Experience(torch.zeros(1, 4, 1), one, one, reward, number).targets()
    metrics = PolicyGradient().metrics(torch.zeros(1, 1, 4, 2), y)
    assert metrics == {"loss": torch.tensor([3.5]), "return": torch.tensor([-3.5])}


def test_losses_are_means_over_the_steps_taken(met):
    """Against plain loops over tasks and steps, for another policy than the recording one."""
    outputs, experience = met
    outputs = outputs + 0.1 * random(*outputs.shape, seed=7)
    log_prob = as_distribution(outputs).log_prob(experience.action)
    found = {kind: PolicyGradient(kind).loss(outputs, experience.targets()) for kind in SURROGATES}
    for task in range(T):
        sums, count = dict.fromkeys(SURROGATES, 0.0), 0
        for row in range(outputs.shape[1]):
            place = task, row
            if not experience.number[place]:
                continue
            if experience.number[place] == 1:
                through = 1.0
            gain = float(experience.advantage[place])
            ratio = math.exp(float(log_prob[place] - experience.log_prob[place]))
            sums["log_likelihood"] += float(log_prob[place]) * gain
            sums["likelihood_ratio"] += ratio * gain
            sums["dice"] += (through * ratio - through) * gain
            through *= ratio
            count += 1
        assert count == [10, 9][task]
        for kind, value in sums.items():
            assert float(found[kind][task]) == pytest.approx(-value / count, rel=1e-9), kind


def test_all_surrogates_have_the_policy_gradient(met):
    outputs, experience = met
    gradients = []
    for kind in SURROGATES:
        leaf = outputs.clone().requires_grad_()
        loss = PolicyGradient(kind).loss(leaf, experience.targets()).sum()
        gradients.append(torch.autograd.grad(loss, leaf)[0])
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])


def test_second_derivatives_differ_as_they_should():
    """π = N(m, 1) with one parameter m, at m = 0; an episode of two steps; u = a − m.

    With ∇log π = u and ∇²log π = −1, the second derivatives are sums over t of A_t times −1;
    u_t² − 1; and, for DiCE, (Σ_{k≤t} u_k)² − (Σ_{k<t} u_k)² − 1.
    """
    u, gain = [0.5, -2.0], [3.0, 7.0]
    expected = {
        "log_likelihood": -3.0 - 7.0,
        "likelihood_ratio": 3.0 * (0.25 - 1.0) + 7.0 * (4.0 - 1.0),
        "dice": 3.0 * (0.25 - 1.0) + 7.0 * ((0.5 - 2.0) ** 2 - 0.25 - 1.0),
    }
    action = torch.tensor(u, dtype=torch.float64).reshape(1, 2, 1)
    advantage = torch.tensor([gain], dtype=torch.float64)
    number = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    log_prob = Normal(0.0, 1.0).log_prob(action).sum(-1)
    y = Experience(action, log_prob, advantage, number, number).targets()
    for kind, value in expected.items():

        def total(m, kind=kind):
            outputs = torch.stack([m, torch.zeros_like(m)]).expand(1, 2, 2)
            return -2.0 * PolicyGradient(kind).loss(outputs, y).sum()  # two steps: sum, not mean

        second = torch.autograd.functional.hessian(total, torch.zeros((), dtype=torch.float64))
        assert float(second) == pytest.approx(value), kind


def test_an_unknown_surrogate():
    with pytest.raises(BadValue, match=r"surrogate=dise: .*did you mean 'dice'"):
        PolicyGradient("dise")


def test_the_divergence_is_of_the_new_policy_from_the_old(met):
    """The mean of KL(old || new) over the steps taken; KL(new || old) differs."""
    old, experience = met
    new = old.clone()
    new[..., 2:] += 0.5  # logarithms of standard deviations
    found = PolicyGradient().divergence(old, new, experience.targets())
    apart = kl_divergence(as_distribution(old), as_distribution(new))
    for task in range(len(old)):
        taken = experience.taken[task].bool()
        torch.testing.assert_close(found[task], apart[task][taken].mean())
