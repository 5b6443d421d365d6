"""Several policies per task: their experience, SVPG by hand, and what the particles learn."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mamlbench.algorithms import BMAML, EMAML, MAML
from mamlbench.algorithms.samples import as_vectors
from mamlbench.errors import BadValue
from mamlbench.networks import MLP
from mamlbench.objectives import Regression
from mamlbench.rl.experience import Experience
from mamlbench.rl.gathering import gathered, trials
from mamlbench.rl.trust_region import summed

SVPG = {"bandwidth": "mean", "exact_repulsion": True}
T, P, R, H = 3, 2, 4, 6


def gradient(learner, tasks):
    learner.meta_gradient(tasks)
    return torch.cat([p.grad.reshape(-1) for p in learner.initial_particles])


def test_each_particle_meets_what_it_does_itself(small):
    learner, dataset, tasks = small(cls=EMAML, particles=P)
    fixed = gathered(learner, tasks)
    for examples in (fixed.support.steps[0], fixed.query):
        assert examples.x.shape == (T, P, R * H, 2)
        assert examples.y.shape == (T, P, R * H, 6)
    met = fixed.support.steps[0]
    for particle in range(P):
        names = dict(zip(learner.particle_names, learner.initial_particles, strict=True))
        own = {name: values[particle] for name, values in names.items()}
        x, y = met.x[:, particle], met.y[:, particle]
        with torch.no_grad():
            outputs = torch.func.functional_call(learner.network, own, (x, None))
        policy = torch.distributions.Normal(outputs[..., :2], outputs[..., 2:].exp())
        own_log_prob = policy.log_prob(y[..., :2]).sum(-1)
        torch.testing.assert_close(own_log_prob, y[..., 2])
        experience = Experience.of(y)
        by_episode = (v.unflatten(1, (R, H)) for v in (x, experience.reward, experience.taken))
        expected = dataset.credit.advantages(*by_episode).flatten(1)
        torch.testing.assert_close(experience.advantage, expected)
    assert not torch.equal(met.y[:, 0, :, :2], met.y[:, 1, :, :2])


def test_an_ensemble_learns_as_its_policies_alone(small):
    """Each particle's meta-gradient is that of a MAML with the same experience."""
    learner, _, tasks = small(cls=EMAML, particles=P)
    fixed = gathered(learner, tasks)
    learner.meta_gradient(fixed)
    alone, _, _ = small(cls=MAML)
    support, query = fixed.support.steps[0], fixed.query
    for particle in range(P):
        pairs = zip(learner.particle_names, learner.initial_particles, strict=True)
        own = {name: values[particle].detach() for name, values in pairs}
        alone.network.load_state_dict(own)
        sides = [type(query)(side.x[:, particle], side.y[:, particle]) for side in (support, query)]
        alone.meta_gradient(type(tasks)(*sides))
        for name, values in zip(learner.particle_names, learner.initial_particles, strict=True):
            expected = dict(alone.network.named_parameters())[name].grad
            torch.testing.assert_close(values.grad[particle], expected)


def svpg(theta, ascent, temperature, rate):
    """One SVPG step of particles [P, D] by the released code's formulas, pair by pair."""
    count = len(theta)
    pairs = [(theta[i] - theta[j]).norm() for i in range(count) for j in range(i + 1, count)]
    h = math.sqrt(0.5 * (sum(pairs) / len(pairs)) ** 2 / math.log(count + 1))
    moved = []
    for m in range(count):
        direction = torch.zeros_like(theta[m])
        for j in range(count):
            kernel = math.exp(-((theta[j] - theta[m]).norm() ** 2) / h**2 / 2)
            direction += kernel * ascent[j] / temperature
            direction += kernel * (theta[m] - theta[j]) / h**2
        moved.append(theta[m] + rate * direction / count)
    return torch.stack(moved)


def ascents(learner, params, examples):
    """The policy gradient of each particle of each task, [T, P, D], one at a time."""
    vectors = as_vectors(params, learner.adapted_names).unflatten(0, (T, P))
    found = torch.zeros_like(vectors)
    names = learner.adapted_names
    for task in range(T):
        for particle in range(P):
            row = task * P + particle
            own = {n: params[n][row].detach().clone().requires_grad_() for n in names}
            outputs = torch.func.functional_call(
                learner.network, own, (examples.x[task, particle][None], None)
            )
            loss = learner.objective.loss(outputs, examples.y[task, particle][None])
            parts = torch.autograd.grad(-loss.sum(), list(own.values()))
            found[task, particle] = torch.cat([part.reshape(-1) for part in parts])
    return found


def test_svpg_and_its_chaser_by_hand(small):
    """The follower learns from the support, then the leader from the follower's experience."""
    learner, _, tasks = small(cls=BMAML, particles=P, temperature=0.1, **SVPG)
    fixed = gathered(learner, tasks)
    with torch.no_grad():
        path = learner.adapt(fixed.support).params
    vectors = [as_vectors(p, learner.adapted_names).unflatten(0, (T, P)) for p in path]
    ascent = ascents(learner, path[0], fixed.support.steps[0])
    further = ascents(learner, path[1], fixed.query)
    loss, metrics = learner.meta_loss(fixed)
    for task in range(T):
        follower = svpg(vectors[0][task].detach(), ascent[task], 0.1, learner.inner_lr)
        torch.testing.assert_close(vectors[1][task], follower)
        leader = svpg(follower, further[task], 0.1, learner.inner_lr)
        expected = (follower - leader).norm(dim=1).sum()
        torch.testing.assert_close(loss[task].detach(), expected)
    returns = fixed.query.y[..., 4].sum(dim=(1, 2)) / (P * R)
    torch.testing.assert_close(metrics["return"], returns)


@pytest.mark.parametrize("meta_loss", ["chaser", "validation"])
def test_meta_gradient_against_finite_differences(small, meta_loss):
    """It also flows through the kernel and its width; the leader is a constant."""
    learner, _, tasks = small(cls=BMAML, particles=P, meta_loss=meta_loss, **SVPG)
    fixed = gathered(learner, tasks)
    found = gradient(learner, fixed)
    at = parameters_to_vector(learner.initial_particles).detach()
    leader = leaders(learner, fixed)
    direction = torch.randn(len(at), generator=torch.Generator().manual_seed(1)).to(at)

    @torch.no_grad()
    def loss(step):
        vector_to_parameters(at + step * direction, learner.initial_particles)
        params = learner.adapt(fixed.support).params[-1]
        if meta_loss == "validation":
            x, y = fixed.query.x.flatten(0, 1), fixed.query.y.flatten(0, 1)
            losses = learner.objective.loss(
                torch.func.vmap(
                    lambda p, x: torch.func.functional_call(learner.network, p, (x[None], None))[0]
                )(params, x),
                y,
            )
            return losses.sum() / T
        vectors = as_vectors(params, learner.adapted_names).unflatten(0, (T, P))
        return (vectors - leader).norm(dim=2).sum() / T

    expected = (loss(1e-5) - loss(-1e-5)) / 2e-5
    torch.testing.assert_close(found @ direction, expected, rtol=1e-5, atol=1e-8)


def leaders(learner, fixed):
    """Leaders [T, P, D], each one step ahead of its follower."""
    with torch.no_grad():
        params = learner.adapt(fixed.support).params[1]
        follower = as_vectors(params, learner.adapted_names).unflatten(0, (T, P))
    ascent = ascents(learner, params, fixed.query)
    return torch.stack([svpg(follower[t], ascent[t], 1.0, learner.inner_lr) for t in range(T)])


def test_reptile_of_an_ensemble_points_to_where_its_steps_lead(small):
    learner, _, tasks = small(cls=EMAML, particles=P, meta_loss="reptile", inner_steps=2)
    fixed = gathered(learner, tasks)
    with torch.no_grad():
        path = learner.adapt(fixed.support).params
    start, end = (as_vectors(path[s], learner.adapted_names).unflatten(0, (T, P)) for s in (0, -1))
    expected = ((start - end) / (start - end).norm(dim=2, keepdim=True)).mean(0)  # [P, D]
    learner.meta_gradient(fixed)
    values = zip(learner.particle_names, learner.initial_particles, strict=True)
    own = {name: particles.grad for name, particles in values}
    torch.testing.assert_close(as_vectors(own, learner.adapted_names), expected)


@pytest.mark.parametrize(
    ("cls", "options"), [(EMAML, {}), (BMAML, {"meta_loss": "validation", **SVPG})]
)
def test_a_trust_region_holds_over_all_particles(small, cls, options):
    learner, _, tasks = small(
        cls=cls, particles=P, outer_optimizer="trpo", outer_lr=1e-3, **options
    )
    measure = trials(learner, [gathered(learner, tasks)])
    before, none = summed(measure)
    assert none == pytest.approx(0.0, abs=1e-15)
    learner.meta_step(tasks)
    gain, divergence = summed(measure)
    assert gain > before
    assert 3e-4 < divergence <= 1e-3


@pytest.mark.parametrize(
    ("cls", "options", "line"),
    [
        (BMAML, {"outer_optimizer": "trpo"}, "meta_loss=chaser: accepted is validation if o"),
        (EMAML, {"outer_optimizer": "trpo", "meta_loss": "reptile"}, "meta_loss=reptile: accep"),
        (BMAML, {"leader_steps": 2}, "leader_steps=2: accepted is 1 for policies"),
        (BMAML, {"temperature": 0.0}, "temperature=0.0: accepted is more than 0"),
    ],
)
def test_what_policies_cannot_have(small, cls, options, line):
    with pytest.raises(BadValue) as error:
        small(cls=cls, particles=P, **options)
    assert str(error.value).startswith(line)


def test_only_policies_have_a_temperature():
    with pytest.raises(
        BadValue, match=r"temperature=2\.0: accepted is 1: these tasks have no policy"
    ):
        BMAML(MLP((1,), 1), Regression(), temperature=2.0)


def test_returns_of_the_mean_and_of_the_best_particle(small):
    """Rewards of 1 or 2 over 6 steps give 6 and 12; only in task 0 the first particle is best."""
    learner, _, tasks = small(cls=EMAML, particles=P)
    query = gathered(learner, tasks).query
    reward = torch.ones(T, P, R * H)
    reward[0, 0], reward[1:, 1] = 2.0, 2.0
    y = query.y.clone()
    y[..., 4] = reward
    outputs = torch.zeros(T, P, R * H, 4)
    found = learner.objective.metrics(outputs, y)
    assert found["return"].tolist() == [9.0] * T
    assert found["return_of_best_particle"].tolist() == [12.0] * T
    outputs[1, 0] = math.nan
    assert found.keys() == {"loss", "return", "return_of_best_particle"}
    gone = learner.objective.metrics(outputs, y)["return_of_best_particle"]
    assert gone.isnan().tolist() == [False, True, False]
