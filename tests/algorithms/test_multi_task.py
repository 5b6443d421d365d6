"""The mean of networks trained on one task each, against plain loops with torch's own Adam."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import F64, flat, images, parameters, relative_error, sinusoids
from torch import Tensor, nn

from mamlbench.algorithms import MultiTask
from mamlbench.algorithms.finite import NonFiniteError
from mamlbench.algorithms.multi_task import PENALTIES
from mamlbench.errors import BadValue, UserError
from mamlbench.networks import MLP, Conv4, GaussianMLP, Rows
from mamlbench.objectives import Classification, Regression
from mamlbench.rl.objective import PolicyGradient
from mamlbench.tasks import Examples, TaskBatch

STEPS, RATE = 25, 0.01


def network() -> nn.Module:
    torch.manual_seed(3)
    return MLP((1,), 1, hidden=(5, 4), activation="tanh").double()


def learner(**options: object) -> MultiTask:
    outer = {"outer_optimizer": "sgd", "outer_lr": 1.0, "adapt_norm": True}
    steps = {"task_steps": STEPS, "task_lr": RATE}
    return MultiTask(network(), Regression(), **outer, **steps, **options)


def by_itself(tasks: TaskBatch, index: int, weight: float = 0.0, centre: Tensor | None = None):
    """The parameters of one task's network, and its loss before the last step."""
    seeds = tasks.support.seeds
    torch.manual_seed(index if seeds is None else int(seeds[index]))
    own = MLP((1,), 1, hidden=(5, 4), activation="tanh").double()
    # the eps of `Moments` is TensorFlow's, too small to matter here
    optimizer = torch.optim.Adam(own.parameters(), lr=RATE, betas=(0.0, 0.999), eps=1e-12)
    examples = tasks[index : index + 1].support.together(tasks[index : index + 1].query)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (own(examples.x, Rows()) - examples.y).square().mean()
        values = flat(own.parameters())
        distance = (values - (0.0 if centre is None else centre)).square().sum()
        (loss + weight * distance).backward()
        optimizer.step()
    return parameters(own), float(loss.detach())


def batches() -> list[TaskBatch]:
    return [sinusoids(2, seed=seed) for seed in range(3)]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_meta_parameters_are_the_mean_of_all_networks(penalty):
    ours, found = learner(penalty=penalty, penalty_weight=0.05), []
    for tasks in batches():
        losses = ours.meta_step(tasks)["loss"]
        # in the first step there is no mean to be pulled to
        drawn = penalty == "zero" or (penalty == "mean" and found)
        centre = torch.stack(found).mean(0) if penalty == "mean" and found else None
        each = [by_itself(tasks, index, 0.05 if drawn else 0.0, centre) for index in range(2)]
        found += [values for values, _ in each]
        torch.testing.assert_close(losses.tolist(), [loss for _, loss in each], rtol=1e-5, atol=0)
    assert relative_error(parameters(ours), torch.stack(found).mean(0)) < 1e-5


@pytest.mark.parametrize("skipped", [0, 1])
def test_a_step_that_is_skipped_adds_no_network_to_the_mean(skipped):
    ours, found = learner(penalty="mean", penalty_weight=0.05), []
    for number, tasks in enumerate(batches()):
        if number == skipped:
            broken = replace(tasks, support=replace(tasks.support, y=tasks.support.y * torch.nan))
            with pytest.raises(NonFiniteError):
                ours.meta_step(broken)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, if the first step is skipped
                ours.count_step()
            continue
        ours.meta_step(tasks)
        centre = torch.stack(found).mean(0) if found else None
        weight = 0.05 if found else 0.0
        found += [by_itself(tasks, index, weight, centre)[0] for index in range(2)]
    assert relative_error(parameters(ours), torch.stack(found).mean(0)) < 1e-5
    again = learner()
    again.load_state_dict(ours.state_dict())
    assert again.steps_taken == 2


def test_first_parameters_belong_to_the_task():
    tasks, ours = sinusoids(3), learner()
    assert tasks.support.seeds is not None
    first, state = ours._drawn(tasks.support), torch.get_rng_state()
    again = ours._drawn(tasks[1:2].support)
    for name, values in first.items():
        assert torch.equal(values[1:2], again[name])
        if name.endswith("weight"):
            assert not torch.equal(values[0], values[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_without_seeds_the_tasks_still_differ():
    tasks = sinusoids(2)
    drawn = learner()._drawn(Examples(tasks.support.x, tasks.support.y))
    weights = drawn["hidden.0.weight"]
    assert not torch.equal(weights[0], weights[1])


def test_replayed_training_is_the_same_to_the_last_bit():
    usual, replayed = learner(), learner()
    assert replayed.replay()
    for tasks in batches():
        usual.meta_step(tasks)
        replayed.meta_step(tasks)
    assert torch.equal(parameters(usual), parameters(replayed))
    assert replayed._replayed.trusted == 1


@pytest.mark.parametrize("adapt_norm", [False, True])
def test_scale_and_shift_are_trained_as_adapt_norm_says(adapt_norm):
    torch.manual_seed(0)
    network = Conv4((1, 8, 8), 3, filters=3, blocks=2, affine="scale_shift").double()
    ours = MultiTask(
        network,
        Classification(),
        task_steps=5,
        outer_optimizer="sgd",
        outer_lr=1.0,
        adapt_norm=adapt_norm,
    )
    names = {name for name, _ in network.named_parameters()} - set(ours.adapted_names)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    ours.meta_step(images(2))
    after = dict(network.named_parameters())
    assert bool(names) is not adapt_norm
    for name, p in after.items():
        assert torch.equal(p, before[name]) is (name in names), name


def test_it_learns_from_support_sets_alone():
    tasks = sinusoids(2)
    nothing = Examples(tasks.query.x[:, :0], tasks.query.y[:, :0])
    assert torch.isfinite(learner().meta_step(TaskBatch(tasks.support, nothing))["loss"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task_steps": 0}, "task_steps=0: accepted is 1 or more"),
        ({"task_lr": -1.0}, "task_lr=-1.0: accepted is 0 or more"),
        ({"penalty_weight": np.inf}, "penalty_weight=inf: accepted is 0 or more"),
        ({"penalty": "l1"}, "penalty=l1: accepted is none, zero, mean"),
        ({"penalty": "zero"}, "penalty_weight=0.0: accepted is more than 0 if penalty=zero"),
    ],
)
def test_bad_values_are_named(options, message):
    with pytest.raises(BadValue, match=message):
        MultiTask(network(), Regression(), **options)


def test_a_policy_has_no_examples_to_be_trained_on():
    with pytest.raises(UserError, match="multi_task: cannot train policies"):
        MultiTask(GaussianMLP((2,), 4, hidden=(5,)), PolicyGradient())


def test_types_stay():
    ours = learner()
    ours.meta_step(sinusoids(2))
    assert all(p.dtype is F64 for p in ours.parameters())
