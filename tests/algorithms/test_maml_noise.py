"""MAML with noise: without noise it is MAML; with it, each sample follows its own path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import gradient, mlp, parameters, relative_error, set_parameters, sinusoids
from torch.nn.functional import mse_loss

from mamlbench.algorithms import MAML
from mamlbench.algorithms.maml_noise import MAMLWithNoise
from mamlbench.errors import BadValue
from mamlbench.networks import Rows
from mamlbench.objectives import Regression


def noisy(network, **options):
    values = {"inner_lr": 0.05, "inner_steps": 2, "noise_std": 0.1}
    return MAMLWithNoise(network, Regression(), **values | options).double()


def test_without_noise_it_is_maml():
    tasks, network = sinusoids(3), mlp()
    learner = noisy(network, noise_std=0.0, train_particles=2, particles=3)
    maml = MAML(network, Regression(), inner_lr=0.05, inner_steps=2)
    assert relative_error(gradient(learner, tasks), gradient(maml, tasks)) < 1e-13
    with torch.no_grad():
        samples = learner.predict(learner.adapt(tasks.support), tasks.query.x)
        alone = maml.predict(maml.adapt(tasks.support), tasks.query.x)
    torch.testing.assert_close(samples, alone.expand(-1, 3, -1, -1))


@pytest.mark.parametrize(("noise_on", "scale"), [("step", 0.1), ("gradient", 0.1 * 0.05)])
def test_each_sample_is_a_noisy_descent_by_hand(noise_on, scale):
    tasks, network = sinusoids(2), mlp()
    learner = noisy(network, noise_on=noise_on, particles=2)
    names = [name for name, _ in network.named_parameters()]
    sizes = [p.numel() for p in network.parameters()]
    with torch.no_grad():
        adapted = learner.adapt(tasks.support)
    for task in range(2):
        x, y = tasks.support.x[task], tasks.support.y[task]

        def loss(params, x=x, y=y):
            return mse_loss(torch.func.functional_call(network, params, (x[None], Rows()))[0], y)

        for particle in range(2):
            params = {name: p.detach() for name, p in network.named_parameters()}
            for step in range(2):
                key = [tasks.support.seeds[task], step]
                draws = np.random.Generator(np.random.Philox(key=key)).standard_normal((2, 39))
                parts = torch.from_numpy(draws[particle]).split(sizes)
                slopes = torch.func.grad(loss)(params)
                params = {
                    name: params[name] - 0.05 * slopes[name] + scale * part.view_as(params[name])
                    for name, part in zip(names, parts, strict=True)
                }
                for name in names:
                    found = adapted.params[step + 1][name][2 * task + particle]
                    torch.testing.assert_close(found, params[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("learned", [False, True])
def test_meta_gradient(learned):
    tasks = sinusoids(2)
    learner = noisy(mlp(), noise_on="gradient", train_particles=2, learn_inner_lr=learned)
    found = gradient(learner, tasks)
    at, expected = parameters(learner), []
    for direction in torch.eye(len(at), dtype=torch.float64):
        ends = []
        for end in (at + 1e-5 * direction, at - 1e-5 * direction):
            set_parameters(learner, end)
            with torch.no_grad():
                ends.append(learner.meta_loss(tasks)[0].mean().item())
        expected.append((ends[0] - ends[1]) / 2e-5)
    assert len(found) == 39 + learned
    assert relative_error(found, torch.tensor(expected, dtype=torch.float64)) < 1e-6


@pytest.mark.parametrize(
    ("option", "value"),
    [("particles", 0), ("train_particles", 0), ("noise_std", -0.1), ("noise_on", "gradeint")],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        noisy(mlp(), **{option: value})
    assert error.value.option == option
