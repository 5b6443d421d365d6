"""Bayesian MAML: heads over shared features, replay, recomputation, and bad options."""

from __future__ import annotations

import math

import pytest
import torch
from problems import conv4, gradient, images, mlp, relative_error, sinusoids
from test_bmaml import classification, regression

from mamlbench.algorithms import BMAML
from mamlbench.errors import BadValue
from mamlbench.objectives import Regression

# --- heads over shared features -------------------------------------------------------------------


@pytest.mark.parametrize("meta_loss", ["chaser", "validation"])
def test_heads_are_adapted_and_all_is_learned(meta_loss):
    tasks, learner = images(2), classification(particles_of="head", meta_loss=meta_loss)
    own = dict(learner.network.named_parameters())
    adapted = learner.adapt(tasks.support, 3)
    for name, value in adapted.params[-1].items():
        if name.startswith("head."):
            assert value.shape == (2 * 3, *own[name].shape)
        else:
            assert value is own[name]
    assert learner.adapted_names == ["head.weight", "head.bias"]
    learner.meta_gradient(tasks)
    features = [p for name, p in own.items() if not name.startswith("head.")]
    assert all(p.grad.abs().max() > 1e-12 for p in (features[0], *learner.initial_particles))
    assert own["head.weight"].grad is None


@pytest.mark.parametrize("transductive", [True, False])
def test_shared_features_are_computed_once_to_the_same_end(transductive):
    tasks, learner = images(2), classification(particles_of="head")
    ends = []
    for one_extractor in (True, False):
        learner._one_extractor = one_extractor
        adapted = learner.adapt(tasks.support)
        outputs = learner.predict(adapted, tasks.query.x, transductive=transductive)
        assert outputs.shape == (2, 3, 9, 3)
        ends.append((outputs.detach(), gradient(learner, tasks)))
    for one, other in zip(*ends, strict=True):
        assert relative_error(one, other) < 1e-11


@pytest.mark.parametrize("make", [regression, classification])
def test_heads_of_some_tasks_at_a_time(make):
    """As tests/contracts check for whole networks: no task depends on the others in its batch."""
    tasks = (sinusoids if make is regression else images)(3)
    learner = make(particles_of="head")
    whole = gradient(learner, tasks)
    learner.task_chunk = 2
    assert relative_error(gradient(learner, tasks), whole) < 1e-11


# --- replay, recomputation, bad options -----------------------------------------------------------


def test_a_replayed_gradient_has_the_same_bits():
    batches = [sinusoids(2, seed=seed) for seed in range(4)]
    plain, replayed = regression(inner_steps=1), regression(inner_steps=1)
    replayed.replay()
    for tasks in batches:
        assert torch.equal(gradient(plain, tasks), gradient(replayed, tasks))
    assert replayed._replay.trusted == 1


def test_recomputed_inner_steps_give_the_same_gradient():
    tasks, kept, recomputed = sinusoids(2), regression(), regression()
    recomputed.checkpoint_inner_steps = True
    assert relative_error(gradient(recomputed, tasks), gradient(kept, tasks)) < 1e-12


def test_adapting_without_gradients_keeps_no_graph():
    tasks, learner = sinusoids(2), regression()
    with torch.no_grad():
        adapted = learner.adapt(tasks.support, 4)
    assert len(adapted.params) == 5
    assert not any(p.requires_grad for p in adapted.params[-1].values())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("particles", 0),
        ("particles_of", "heads"),
        ("meta_loss", "chase"),
        ("bandwidth", "median"),
        ("leader_steps", 0),
        ("leader_lr", -0.1),
        ("noise_variance", 0.0),
        ("weight_variance", math.inf),
        ("noise_prior", (0.0, 1.0)),
        ("weight_prior", (1.0, -1.0)),
    ],
)
def test_bad_values_are_named(option, value):
    with pytest.raises(BadValue) as error:
        BMAML(mlp(), Regression(), **{option: value})
    assert error.value.option == option


@pytest.mark.parametrize(
    ("network", "options"), [(mlp, {"particles_of": "head"}), (conv4, {"adapt_norm": False})]
)
def test_parameters_that_nothing_would_train_are_refused(network, options):
    """With constant gradients, the chaser loss trains only the adapted parameters."""
    with pytest.raises(BadValue) as error:
        BMAML(network(), Regression(), first_order=True, **options)
    assert error.value.option == "first_order"
    BMAML(network(), Regression(), first_order=True, meta_loss="validation", **options)
