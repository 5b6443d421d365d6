"""EMAML against the MAMLs that it consists of, and how its particles are initialised."""

from __future__ import annotations

import pytest
import torch
from problems import conv4, flat, gradient, images, mlp, relative_error, sinusoids
from torch import nn

from mamlbench.algorithms import EMAML, MAML
from mamlbench.errors import BadValue, UserError
from mamlbench.networks import MLP, Conv4
from mamlbench.objectives import Classification, Regression

OPTIONS = {"inner_lr": 0.05, "inner_steps": 2}


def alone(learner: EMAML, particle: int) -> MAML:
    """A particle as a MAML of its own."""
    maml = MAML(learner.network, learner.objective, **OPTIONS)
    own = dict(maml.network.named_parameters())
    with torch.no_grad():
        for name, values in zip(learner.particle_names, learner.initial_particles, strict=True):
            own[name].copy_(values[particle])
    return maml


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(
    ("network", "problem", "objective"),
    [(mlp, sinusoids, Regression()), (conv4, images, Classification())],
)
def test_each_particle_learns_and_predicts_as_it_would_alone(
    network, problem, objective, first_order
):
    tasks = problem(3)
    learner = EMAML(network(), objective, particles=3, first_order=first_order, **OPTIONS).double()
    learner.meta_gradient(tasks)
    together = [p.grad for p in learner.initial_particles]
    outputs = learner.predict(learner.adapt(tasks.support, 4), tasks.query.x)
    assert all(p.grad is None for p in learner.network.parameters())
    for particle in range(3):
        maml = alone(learner, particle)
        maml.first_order = first_order
        expected = gradient(maml, tasks)
        found = flat(g[particle] for g in together)
        assert relative_error(found, expected) < 1e-11
        own = maml.predict(maml.adapt(tasks.support, 4), tasks.query.x)
        torch.testing.assert_close(outputs[:, particle], own[:, 0])


def test_heads_over_shared_features():
    """Each head learns as it would alone; the features get the sum of the heads' gradients."""
    tasks = images(2)
    learner = EMAML(conv4(), Classification(), particles=3, particles_of="head", **OPTIONS).double()
    learner.meta_gradient(tasks)
    names = [name for name, _ in learner.network.named_parameters()]
    features = [name for name in names if not name.startswith("head.")]
    own = dict(learner.network.named_parameters())
    found = flat(own[name].grad for name in features)
    heads = [p.grad for p in learner.initial_particles]
    total = 0
    for particle in range(3):
        maml = alone(learner, particle)
        maml.adapted_names = ["head.weight", "head.bias"]
        maml.meta_gradient(tasks)
        total = total + flat(own[name].grad for name in features)
        expected = flat(own[name].grad for name in maml.adapted_names)
        assert relative_error(flat(g[particle] for g in heads), expected) < 1e-11
    assert relative_error(found, total) < 1e-11


def test_a_replayed_gradient_has_the_same_bits():
    batches = [sinusoids(2, seed=seed) for seed in range(4)]
    learners = []
    for _ in range(2):
        torch.manual_seed(0)
        learners.append(EMAML(mlp(), Regression(), particles=3, **OPTIONS).double())
    plain, replayed = learners
    replayed.replay()
    for tasks in batches:
        assert torch.equal(gradient(plain, tasks), gradient(replayed, tasks))
    assert replayed._replay.trusted == 1


# --- how particles start --------------------------------------------------------------------------


@pytest.mark.parametrize("particles_of", ["all", "head"])
def test_particles_start_apart_the_first_with_the_networks_own(particles_of):
    torch.manual_seed(0)
    network = MLP((1,), 1, (8, 8), init="truncated_normal")
    learner = EMAML(network, Regression(), particles=4, particles_of=particles_of)
    own = dict(network.named_parameters())
    for name, values in zip(learner.particle_names, learner.initial_particles, strict=True):
        assert torch.equal(values[0], own[name])
        if name.endswith("weight"):
            assert len({float(v.sum()) for v in values.detach()}) == 4
            assert values.abs().max() <= 0.02  # each drawn by the network's own rule
    assert ("hidden.0.weight" in learner.particle_names) == (particles_of == "all")


def test_a_torch_module_is_drawn_anew_by_its_layers():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
    tasks = sinusoids(2)
    learner = EMAML(plain, Regression(), particles=3, **OPTIONS).double()
    weights = learner.initial_particles[0]
    assert not torch.equal(weights[0], weights[1])
    learner.meta_step(tasks)
    assert learner.predict(learner.adapt(tasks.support), tasks.query.x).shape == (2, 3, 7, 1)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.randn(1, 1))

    def forward(self, x):
        return x @ self.slope


def test_a_module_that_cannot_be_drawn_anew_is_named():
    with pytest.raises(UserError, match=r"Own .* reset_parameters"):
        EMAML(Own(), Regression(), particles=2)
    EMAML(Own(), Regression(), particles=1)


@pytest.mark.parametrize(
    ("network", "options", "option"),
    [
        ({"head_init": "zeros"}, {"particles_of": "head"}, "particles"),
        ({"norm": "running"}, {}, "particles_of"),
        ({}, {"particles": 0}, "particles"),
    ],
)
def test_particles_that_cannot_be_are_refused(network, options, option):
    with pytest.raises(BadValue) as error:
        EMAML(Conv4((1, 8, 8), 3, filters=2, blocks=1, **network), Classification(), **options)
    assert error.value.option == option


def test_a_network_without_a_head_is_refused():
    with pytest.raises(BadValue, match="Linear has no part named head") as error:
        EMAML(nn.Linear(1, 1), Regression(), particles_of="head")
    assert error.value.option == "particles_of"


@pytest.mark.parametrize(
    ("network", "options"), [({"norm": "none"}, {"particles_of": "head"}), ({}, {})]
)
def test_the_distance_trains_nothing_that_the_inner_loop_leaves(network, options):
    network = Conv4((1, 8, 8), 3, filters=2, blocks=1, **network)
    with pytest.raises(BadValue) as error:
        EMAML(network, Classification(), meta_loss="reptile", **options)
    assert (error.value.option, error.value.accepted[:5]) == ("meta_loss", "query")
    with pytest.raises(BadValue, match="learn_inner_lr=true: accepted is false if meta_loss"):
        EMAML(mlp(), Regression(), meta_loss="reptile", learn_inner_lr=True)
    EMAML(network, Classification(), meta_loss="reptile", adapt_norm=True)
