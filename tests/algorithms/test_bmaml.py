"""Bayesian MAML against plain loops, finite differences, and MAML where they must agree."""

from __future__ import annotations

import math

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
from test_svgd import plain_svgd
from torch import Tensor
from torch.distributions import Gamma, Normal
from torch.func import functional_call

from mamlbench.algorithms import BMAML, MAML
from mamlbench.algorithms import svgd as svgd_module
from mamlbench.networks import Rows
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import TaskBatch

PRIORS = {"weight_prior": (2.0, 2.0), "noise_prior": (2.0, 0.2)}


def regression(particles: int = 3, **options) -> BMAML:
    """A learner whose particles all differ, in their precisions too, so that none is special."""
    torch.manual_seed(0)
    options = {"inner_lr": 0.02, "inner_steps": 2, "noise_variance": 0.5, **PRIORS, **options}
    learner = BMAML(mlp(), Regression(), particles=particles, **options).double()
    return scattered(learner)


def classification(particles: int = 3, **options) -> BMAML:
    torch.manual_seed(0)
    options = {"inner_lr": 0.05, "inner_steps": 2, **options}
    return scattered(BMAML(conv4(), Classification(), particles=particles, **options).double())


def scattered(learner: BMAML) -> BMAML:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in [*learner.initial_particles, *learner.initial_precisions.values()]:
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=F64)
    return learner


# --- the posterior and the follower, by plain loops -----------------------------------------------


def starts(learner: BMAML) -> list[dict[str, Tensor]]:
    """Each particle's own parameters by name, precisions last."""
    named = dict(zip(learner.particle_names, learner.initial_particles, strict=True))
    named |= dict(learner.initial_precisions.items())
    return [{name: values[m] for name, values in named.items()} for m in range(learner.particles)]


def plain_log_posterior(learner: BMAML, particle: dict[str, Tensor], x, y) -> Tensor:
    own = {name: value for name, value in particle.items() if not name.startswith("log_")}
    outputs = functional_call(learner.network, own, (x[None], Rows()))[0]
    gamma, lambda_ = particle["log_gamma"].exp(), particle["log_lambda"].exp()
    total = Normal(outputs, gamma.rsqrt()).log_prob(y).sum()
    total = total + sum(Normal(0.0, lambda_.rsqrt()).log_prob(w).sum() for w in own.values())
    # densities over the logarithms of the precisions
    total = total + Gamma(*learner.weight_prior).log_prob(lambda_) + particle["log_lambda"]
    return total + Gamma(*learner.noise_prior).log_prob(gamma) + particle["log_gamma"]


def plain_follow(learner: BMAML, particles, x, y, steps: int, rate: float):
    """Particles of one task after some steps of SVGD."""
    for _ in range(steps):
        vectors, gradients = [], []
        for particle in particles:
            values = list(particle.values())
            log_posterior = plain_log_posterior(learner, particle, x, y)
            grads = torch.autograd.grad(log_posterior, values, create_graph=True)
            vectors.append(flat(values))
            gradients.append(flat(grads))
        vectors, gradients = torch.stack(vectors), torch.stack(gradients)
        factor = 2 if learner.exact_repulsion else 1
        moved = vectors + rate * plain_svgd(vectors, gradients, learner.bandwidth, factor)
        sizes = [value.numel() for value in particles[0].values()]
        particles = [
            {
                name: part.view(value.shape)
                for part, (name, value) in zip(row.split(sizes), particle.items(), strict=True)
            }
            for row, particle in zip(moved, particles, strict=True)
        ]
    return particles


def test_log_posterior_up_to_a_constant():
    """Normalising constants are the same for all particles, so their differences are compared."""
    tasks, found, expected = sinusoids(1), [], []
    learner = regression()
    params = learner._start(1)
    ours = learner.log_posterior(params, tasks.support)
    for m, particle in enumerate(starts(learner)):
        x, y = tasks.support.x[0], tasks.support.y[0]
        found.append(ours[m])
        expected.append(plain_log_posterior(learner, particle, x, y))
    found, expected = (torch.stack(values).detach() for values in (found, expected))
    torch.testing.assert_close(found - found[0], expected - expected[0])
    assert (found - found[0]).abs().max() > 1


@pytest.mark.parametrize("bandwidth", ["org", "med", "mean"])
@pytest.mark.parametrize("exact", [False, True])
def test_follower_is_plain_svgd(bandwidth, exact):
    tasks = sinusoids(2)
    learner = regression(bandwidth=bandwidth, exact_repulsion=exact)
    adapted = learner.adapt(tasks.support)
    assert adapted.particles == 3
    assert set(adapted.params[-1]) == {name for name, _ in learner.network.named_parameters()}
    for task in range(2):
        x, y = tasks.support.x[task], tasks.support.y[task]
        expected = plain_follow(learner, starts(learner), x, y, 2, 0.02)
        for m in range(3):
            for name, value in adapted.params[-1].items():
                torch.testing.assert_close(value[3 * task + m], expected[m][name])


def test_chaser_and_its_gradient_are_those_of_plain_loops():
    """The leader continues from the follower, sees both sets, and is a constant to gradients."""
    tasks = sinusoids(2)
    learner = regression(leader_steps=2, leader_lr=0.01)
    loss, metrics = learner.meta_loss(tasks)
    plain = []
    for task in range(2):
        both = tasks.support.together(tasks.query)
        follower = plain_follow(
            learner, starts(learner), tasks.support.x[task], tasks.support.y[task], 2, 0.02
        )
        leader = plain_follow(learner, follower, both.x[task], both.y[task], 2, 0.01)
        pairs = zip(follower, leader, strict=True)
        plain.append(
            sum(
                (behind[name] - ahead[name].detach()).square().sum()
                for behind, ahead in pairs
                for name in learner.adapted_names
            )
        )
    torch.testing.assert_close(loss, torch.stack(plain))
    assert torch.equal(metrics["meta_loss"], loss.detach())
    used = [*learner.initial_particles, *learner.initial_precisions.values()]
    expected = torch.autograd.grad(torch.stack(plain).mean(), used)
    learner.meta_gradient(tasks)
    assert relative_error(flat(p.grad for p in used), flat(expected)) < 1e-9
    assert all(p.grad is None for p in learner.network.parameters())


# --- finite differences ---------------------------------------------------------------------------


@pytest.fixture
def constant_bandwidth(monkeypatch):
    """Bandwidths are constants to gradients, so those of the first pass are kept for all others."""
    computed = svgd_module.squared_bandwidth

    class Kept:
        def __init__(self) -> None:
            self.values, self.place, self.keeping = [], 0, True

        def __call__(self, distances, bandwidth):
            if self.keeping:
                self.values.append(computed(distances, bandwidth))
                return self.values[-1]
            self.place += 1
            return self.values[self.place - 1]

    kept = Kept()
    monkeypatch.setattr(svgd_module, "squared_bandwidth", kept)
    return kept


def outer_loss(learner: BMAML, tasks: TaskBatch, leader: dict[str, Tensor] | None) -> float:
    with torch.no_grad():
        steps, rate = learner.inner_steps, learner.inner_lr
        end = learner._follow(learner._start(len(tasks)), tasks.support, steps, rate)[-1]
        if leader is not None:
            return float(sum((end[n] - leader[n]).square().sum() for n in leader)) / len(tasks)
        losses = []
        for task in range(len(tasks)):
            y = tasks.query.y[task]
            densities = []
            for m in range(learner.particles):
                own = {
                    n: v[task * learner.particles + m] if n in learner.particle_names else v
                    for n, v in end.items()
                    if not n.startswith("log_")
                }
                outputs = functional_call(
                    learner.network, own, (tasks.query.x[task : task + 1], Rows())
                )[0]
                if learner.precisions:
                    gamma = end["log_gamma"][task * learner.particles + m].exp()
                    log_density = Normal(outputs, gamma.rsqrt()).log_prob(y).sum()
                    log_density = log_density + 0.5 * y.numel() * math.log(2 * math.pi)
                else:
                    log_density = -torch.nn.functional.cross_entropy(outputs, y, reduction="sum")
                densities.append(log_density.exp())
            losses.append(-torch.stack(densities).mean().log() / len(y))
        return float(torch.stack(losses).mean())


@pytest.mark.parametrize("meta_loss", ["chaser", "validation"])
@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize(
    ("make", "problem", "particles_of"),
    [
        (regression, sinusoids, "all"),
        (regression, sinusoids, "head"),
        (classification, images, "all"),
        (classification, images, "head"),
    ],
)
def test_meta_gradient(constant_bandwidth, make, problem, particles_of, particles, meta_loss):
    tasks = problem(2)
    learner = make(particles, particles_of=particles_of, meta_loss=meta_loss)
    leader = leader_of(learner, tasks)  # this also records the bandwidths
    constant_bandwidth.keeping = False
    found = gradient(learner, tasks)
    generator = torch.Generator().manual_seed(5)
    directions = torch.randn(6, len(found), generator=generator, dtype=F64)
    at, expected = parameters(learner), []
    for direction in directions:
        ends = []
        for sign in (1, -1):
            set_parameters(learner, at + sign * 1e-5 * direction)
            constant_bandwidth.place = 0
            ends.append(outer_loss(learner, tasks, leader if meta_loss == "chaser" else None))
        expected.append((ends[0] - ends[1]) / 2e-5)
    assert relative_error(directions @ found, torch.tensor(expected, dtype=F64)) < 1e-6


def leader_of(learner: BMAML, tasks: TaskBatch) -> dict[str, Tensor]:
    """The leader's weights."""
    both = tasks.support.together(tasks.query)
    with torch.no_grad():
        end = learner._follow(learner._start(len(tasks)), tasks.support, 2, learner.inner_lr)[-1]
        ahead = learner._follow(end, both, 1, learner.leader_lr)[-1]
    return {name: ahead[name] for name in learner.adapted_names}


# --- limiting cases -------------------------------------------------------------------------------


def test_one_particle_takes_gradient_steps_on_the_log_posterior():
    tasks, learner = sinusoids(2), regression(1, inner_steps=1)
    adapted = learner.adapt(tasks.support).params[-1]
    for task in range(2):
        (start,) = starts(learner)
        log_posterior = plain_log_posterior(
            learner, start, tasks.support.x[task], tasks.support.y[task]
        )
        names = learner.adapted_names
        ascent = torch.autograd.grad(log_posterior, [start[name] for name in names])
        for name, direction in zip(names, ascent, strict=True):
            torch.testing.assert_close(adapted[name][task], start[name] + 0.02 * direction)


@pytest.mark.parametrize("first_order", [False, True])
def test_one_particle_with_a_flat_prior_and_the_validation_loss_is_maml(first_order):
    """A step on the sum over 6 examples equals one of 6 times the size on their mean."""
    tasks = images(2)
    options = {"inner_steps": 2, "adapt_norm": True, "first_order": first_order}
    network = conv4()
    bmaml = BMAML(
        network,
        Classification(),
        particles=1,
        inner_lr=0.05,
        meta_loss="validation",
        **options,
    ).double()
    maml = MAML(network, Classification(), inner_lr=0.3, **options)
    bmaml.meta_gradient(tasks)
    found = flat(p.grad for p in bmaml.initial_particles)
    assert relative_error(found, gradient(maml, tasks)) < 1e-11


def test_first_order_chaser_of_one_particle_is_the_way_behind_the_leader():
    """With constant gradients the follower moves exactly as its initial particle does."""
    tasks, learner = sinusoids(2), regression(1, first_order=True)
    learner.meta_gradient(tasks)
    leader = leader_of(learner, tasks)
    follower = learner.adapt(tasks.support).params[-1]
    for name, p in zip(learner.particle_names, learner.initial_particles, strict=True):
        expected = 2 * (follower[name] - leader[name]).mean(0, keepdim=True)
        torch.testing.assert_close(p.grad, expected)
