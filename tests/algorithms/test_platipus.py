"""PLATIPUS against its algorithm box in plain loops, finite differences, and its limit, MAML."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from problems import (
    F64,
    conv4,
    flat,
    gradient,
    images,
    mlp,
    parameters,
    relative_error,
    set_parameters,
    sinusoids,
)
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn.functional import mse_loss

from mamlbench.algorithms import MAML, NonFiniteError
from mamlbench.algorithms.platipus import PLATIPUS, Gaussian
from mamlbench.errors import BadValue, UserError
from mamlbench.networks import Rows
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch


def platipus(network: nn.Module | None = None, **options: object) -> PLATIPUS:
    """Large variances and rates, all different, so that no part can hide an error."""
    values = {
        "inner_lr": 0.02,
        "inner_steps": 2,
        "kl_weight": 0.03,
        "prior_std": 0.3,
        "posterior_std": 0.2,
        "gamma_p": 0.05,
        "gamma_q": -0.03,
        "particles": 3,
        "train_particles": 2,
    }
    learner = PLATIPUS(network or mlp(), Regression(), **values | options).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for values in (learner.log_prior_variance, learner.log_posterior_variance):
            values += 0.5 * torch.randn(values.shape, generator=generator, dtype=F64)
    return learner


# --- in plain loops -------------------------------------------------------------------------------


class ByHand:
    """The algorithm box for one task at a time, one vector of weights at a time."""

    def __init__(self, learner: PLATIPUS) -> None:
        self.learner = learner
        self.mean = parameters(learner.network)

    def loss(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        params, first = {}, 0
        for name, p in self.learner.network.named_parameters():
            params[name] = weights[first : first + p.numel()].reshape(p.shape)
            first += p.numel()
        outputs = torch.func.functional_call(self.learner.network, params, (x[None], Rows()))
        return mse_loss(outputs[0], y)

    def gradient(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return torch.func.grad(self.loss)(weights, x, y)

    def normal(self, examples: tuple[Tensor, Tensor], gamma: float, log_variance: Tensor) -> Normal:
        mean = self.mean - gamma * self.gradient(self.mean, *examples)
        return Normal(mean, log_variance.detach().exp().sqrt())

    def descend(self, weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        for _ in range(self.learner.inner_steps):
            weights = weights - self.learner.inner_lr * self.gradient(weights, x, y)
        return weights

    def noise(self, seed: int, place: int, particles: int) -> Tensor:
        random = np.random.Generator(np.random.Philox(key=[seed, place]))
        return torch.from_numpy(random.standard_normal((particles, len(self.mean))))


def sides(tasks: TaskBatch, task: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return tuple((side.x[task], side.y[task]) for side in (tasks.support, tasks.query))


@pytest.mark.parametrize("reduction", ["sum", "mean", "per_query"])
def test_the_meta_loss_is_algorithm_1(reduction):
    tasks = sinusoids(3)
    learner = platipus(kl_reduction=reduction)
    divisor = {"sum": 1, "mean": 39, "per_query": 7}[reduction]
    hand = ByHand(learner)
    found, metrics = learner.meta_loss(tasks)
    for task in range(3):
        support, query = sides(tasks, task)
        q = hand.normal(query, learner.gamma_q.item(), learner.log_posterior_variance)
        p = hand.normal(support, learner.gamma_p.item(), learner.log_prior_variance)
        losses = [
            hand.loss(hand.descend(q.mean + q.stddev * noise, *support), *query)
            for noise in hand.noise(tasks.support.seeds[task], 0, 2)
        ]
        kl = kl_divergence(Independent(q, 1), Independent(p, 1))
        expected = sum(losses) / 2 + 0.03 * kl / divisor
        assert found[task].item() == pytest.approx(expected.item(), rel=1e-10)
        assert metrics["kl"][task].item() == pytest.approx(kl.item(), rel=1e-10)


def test_at_meta_test_samples_are_of_the_prior_and_adapt_one_by_one():
    """Algorithm 2 uses γ_p, σ_θ and the support set, never γ_q, v_q or a query."""
    tasks, learner = sinusoids(2), platipus()
    hand = ByHand(learner)
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)
    assert adapted.particles == 3
    for task in range(2):
        support, _ = sides(tasks, task)
        p = hand.normal(support, learner.gamma_p.item(), learner.log_prior_variance)
        for particle, noise in enumerate(hand.noise(tasks.support.seeds[task], 1, 3)):
            theta = p.mean + p.stddev * noise
            for step, expected in ((0, theta), (-1, hand.descend(theta, *support))):
                found = flat(
                    values[3 * task + particle] for values in adapted.params[step].values()
                )
                torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_query_labels_reach_q_and_no_sample_of_the_test():
    tasks, learner = sinusoids(2), platipus()
    other = TaskBatch(tasks.support, Examples(tasks.query.x, tasks.query.y + 1.0))
    with torch.no_grad():
        outputs = [
            learner.predict(learner.adapt(batch.support), batch.query.x) for batch in (tasks, other)
        ]
        means = [learner.posterior(batch.query).mean for batch in (tasks, other)]
        _, metrics = learner.meta_loss(tasks)
        _, changed = learner.meta_loss(other)
    assert torch.equal(*outputs)
    assert not torch.allclose(*means)
    assert not torch.allclose(metrics["kl"], changed["kl"])


def test_divergence_by_hand_and_by_torch():
    generator = torch.Generator().manual_seed(0)
    means, scales = torch.randn(2, 4, 6, generator=generator), torch.rand(2, 6, generator=generator)
    q, p = (Gaussian(m.double(), 2 * s.double().log()) for m, s in zip(means, scales, strict=True))
    expected = kl_divergence(
        *(Independent(Normal(g.mean, (g.log_variance / 2).exp().expand(4, 6)), 1) for g in (q, p))
    )
    torch.testing.assert_close(q.divergence(p), expected)
    # N(1, 4) from N(0, 1): (4 + 1 - 1 - ln 4) / 2
    one = Gaussian(torch.ones(1, 1), torch.tensor([4.0]).log())
    zero = Gaussian(torch.zeros(1, 1), torch.zeros(1))
    assert one.divergence(zero).item() == pytest.approx(2 - math.log(2))


def test_samples_have_the_mean_and_variance_of_their_distribution():
    gaussian = Gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([0.25, 4.0]).log())
    noise = torch.randn(1, 40_000, 2, generator=torch.Generator().manual_seed(0))
    samples = gaussian.sample(noise)[0]
    assert samples.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.04)
    assert samples.var(0).tolist() == pytest.approx([0.25, 4.0], rel=0.03)


# --- the meta-gradient ----------------------------------------------------------------------------


def differences(learner: PLATIPUS, tasks: TaskBatch, directions: Tensor, step: float) -> Tensor:
    """Central differences of the mean meta-loss, whose noise is fixed by the tasks' seeds."""
    at, result = parameters(learner), []
    with torch.no_grad():
        for direction in directions:
            ends = []
            for end in (at + step * direction, at - step * direction):
                set_parameters(learner, end)
                ends.append(learner.meta_loss(tasks)[0].mean().item())
            result.append((ends[0] - ends[1]) / (2 * step))
        set_parameters(learner, at)
    return torch.tensor(result, dtype=F64)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_meta_gradient_of_all_meta_parameters(checkpointed):
    """μ_θ, σ²_θ, v_q, γ_p and γ_q, through both shifted means and every inner step."""
    tasks, learner = sinusoids(2), platipus()
    learner.checkpoint_inner_steps = checkpointed
    found = gradient(learner, tasks)
    assert len(found) == 3 * 39 + 2
    assert (found != 0).all()
    expected = differences(learner, tasks, torch.eye(len(found), dtype=F64), step=1e-5)
    assert relative_error(found, expected) < 1e-6
    for name, p in learner.named_parameters():
        if name.startswith("gamma"):  # one number each among many larger ones
            index = next(i for i, other in enumerate(learner.parameters()) if other is p)
            place = sum(other.numel() for other in list(learner.parameters())[:index])
            assert found[place].item() == pytest.approx(expected[place].item(), rel=1e-5)


@pytest.mark.parametrize("adapt_norm", [False, True])
def test_meta_gradient_of_conv4_with_batch_norm(adapt_norm):
    tasks = images(2)
    learner = PLATIPUS(
        conv4(),
        Classification(),
        inner_lr=0.1,
        inner_steps=2,
        prior_std=0.1,
        posterior_std=0.1,
        gamma_p=0.2,
        gamma_q=0.1,
        kl_weight=0.05,
        adapt_norm=adapt_norm,
    ).double()
    found = gradient(learner, tasks)
    generator = torch.Generator().manual_seed(5)
    directions = torch.randn(6, len(found), generator=generator, dtype=F64)
    directions = nn.functional.normalize(directions)
    expected = differences(learner, tasks, directions, step=1e-5)
    assert relative_error(directions @ found, expected) < 1e-6


def test_without_variance_shift_or_divergence_it_is_maml():
    tasks, network = sinusoids(3), mlp()
    options = {"inner_lr": 0.05, "inner_steps": 3}
    maml = MAML(network, Regression(), **options)
    expected = gradient(maml, tasks)
    none = {"prior_std": 1e-14, "posterior_std": 1e-14, "gamma_p": 0.0, "gamma_q": 0.0}
    learner = PLATIPUS(network, Regression(), kl_weight=0.0, particles=2, **none, **options)
    learner.double()
    found = gradient(learner, tasks)
    # the gradient in γ is not 0, because one more step would change MAML's loss
    assert relative_error(flat(p.grad for p in network.parameters()), expected) < 1e-11
    assert found[-2:].abs().max() > 1e-3
    with torch.no_grad():
        samples = learner.predict(learner.adapt(tasks.support), tasks.query.x)
        alone = maml.predict(maml.adapt(tasks.support), tasks.query.x)
    torch.testing.assert_close(samples, alone.expand(-1, 2, -1, -1), rtol=1e-11, atol=1e-12)


def test_several_samples_in_any_chunk():
    tasks, learner, found = sinusoids(5), platipus(), []
    for chunk in (1, 2, None):
        learner.task_chunk = chunk
        found.append(gradient(learner, tasks))
    assert relative_error(found[1], found[0]) < 1e-12
    assert relative_error(found[2], found[0]) < 1e-12


def test_a_sample_does_not_depend_on_how_many_there_are():
    tasks, network = sinusoids(2), mlp()
    few, many = platipus(network, particles=2), platipus(network, particles=5)
    with torch.no_grad():
        one, other = (p.predict(p.adapt(tasks.support), tasks.query.x) for p in (few, many))
    torch.testing.assert_close(one, other[:, :2])


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("log_posterior_variance", 800.0, "v_q of q"),
        ("log_prior_variance", -800.0, "σ²_θ of p"),
    ],
)
def test_a_variance_out_of_range_is_named_and_nothing_changes(name, value, word):
    tasks, learner = sinusoids(2), platipus()
    with torch.no_grad():
        getattr(learner, name)[3:5] = value
    before = parameters(learner)
    with pytest.raises(NonFiniteError, match=f"2 of 39 weights have a variance {word}"):
        learner.meta_step(tasks)
    assert torch.equal(parameters(learner), before)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("particles", 0),
        ("train_particles", 0),
        ("prior_std", 0.0),
        ("prior_std", 1e30),
        ("posterior_std", -1.0),
        ("posterior_std", math.inf),
        ("kl_weight", -1.0),
        ("gamma_p", math.nan),
        ("kl_reduction", "summ"),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        PLATIPUS(mlp(), Regression(), **{option: value})
    assert error.value.option == option


class Fresh:
    def __len__(self) -> int:
        return 2

    def __call__(self, step, params):
        raise AssertionError("never asked")


def test_support_sets_that_change_are_refused():
    with pytest.raises(UserError, match="needs a fixed support set"):
        platipus().adapt(Fresh())
