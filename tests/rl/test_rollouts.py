"""Rollouts: the policy that acts, the experience, and what it depends on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mamlbench.errors import BadValue, UserError
from mamlbench.networks import GaussianMLP
from mamlbench.rl.advantages import advantages, discounted_sums, fitted_values
from mamlbench.rl.control import Navigation2D
from mamlbench.rl.experience import Experience
from mamlbench.rl.gathering import acting, gathered
from mamlbench.rl.rollouts import _place

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@torch.no_grad()
def test_what_comes_back_is_what_happened(small):
    """Each episode is replayed step by step from its actions."""
    learner, _, tasks = small()
    params = learner.initial(3)
    batch = acting(tasks, learner.network).support(0, params)
    met = Experience.of(batch.y)
    assert torch.equal(met.number, torch.arange(1.0, 7.0).repeat(3, 4))
    goals = tasks.info["goal"]
    for task in range(3):
        for episode in range(4):
            position = np.zeros(2)
            for t in range(6):
                place = task, 6 * episode + t
                seen, action = batch.x[place], met.action[place]
                np.testing.assert_allclose(seen, position, atol=1e-7)
                outputs = learner.network(seen.reshape(1, 1, 2), None)[0, 0]
                policy = torch.distributions.Normal(outputs[:2], outputs[2:].exp())
                expected = float(policy.log_prob(action).sum())
                assert float(met.log_prob[place]) == pytest.approx(expected)
                position = position + 0.1 * np.clip(action.numpy(), -1, 1)
                distance = np.linalg.norm(position - goals[task])
                assert float(met.reward[place]) == pytest.approx(-distance)
    rewards = met.reward.unflatten(1, (4, 6))
    returns = discounted_sums(rewards, 0.99)
    values = fitted_values(batch.x, returns.flatten(1), met.number).unflatten(1, (4, 6))
    expected = advantages(rewards, values, torch.ones_like(rewards), 0.99, 1.0)
    torch.testing.assert_close(met.advantage, expected.flatten(1))


def test_actions_are_drawn_from_the_policy():
    """Standardised, many of them have the mean and deviation of a standard normal."""
    dataset = Navigation2D(shots=200, horizon=50)
    torch.manual_seed(0)
    network = GaussianMLP((2,), 4, initial_sd=0.3)
    tasks = acting(dataset.sample("train", 0, 0, 1), network)
    batch = tasks.support(0, dict(network.named_parameters()))
    with torch.no_grad():
        mean, log_sd = network(batch.x, None).chunk(2, dim=-1)
    z = (Experience.of(batch.y).action - mean) / log_sd.exp()
    assert log_sd.exp().unique().tolist() == pytest.approx([0.3])
    assert abs(float(z.mean())) < 4 / 20_000**0.5
    assert float(z.std()) == pytest.approx(1.0, abs=0.03)


def test_episodes_depend_on_seeds_alone(small):
    """Not on the other tasks of a batch, and not on earlier rollouts."""
    learner, _, tasks = small()
    together = gathered(learner, tasks)
    for i in reversed(range(3)):
        alone = gathered(learner, tasks[i : i + 1])
        for whole, part in (
            (together.support.steps[0], alone.support.steps[0]),
            (together.query, alone.query),
        ):
            torch.testing.assert_close(whole[i : i + 1].x, part.x, **CLOSE)
            torch.testing.assert_close(whole[i : i + 1].y, part.y, **CLOSE)


def test_sides_steps_and_tasks_have_numbers_of_their_own(small):
    learner, _, tasks = small()
    tasks = acting(tasks, learner.network)
    params = learner.initial(3)
    actions = [
        Experience.of(side(step, params).y).action[task]
        for side in (tasks.support, tasks.query)
        for step in (0, 1)
        for task in range(3)
    ]
    assert len({tuple(a[0].tolist()) for a in actions}) == len(actions)


def test_environments_get_seeds_that_generators_accept(small):
    """Each side, step and task has its own seed, never below 0."""
    _, _, tasks = small()
    most = np.array([0, 700, 2**63 - 50])
    found = [
        replace(side, seeds=most)._seeds(_place(side.side, step))
        for side in (tasks.support, tasks.query)
        for step in (0, 1)
    ]
    assert (np.array(found) >= 0).all()
    assert len(np.unique(found)) == 12


def test_later_inner_steps_are_shorter(small):
    """α, then α/2: the second step's change is half of that with unscaled advantages."""
    changes = []
    for factor in (1.0, 0.5):
        learner, _, _ = small()
        dataset = Navigation2D(horizon=6, shots=4, queries=4, later_steps=factor)
        tasks = acting(dataset.sample("train", 0, 0, 3), learner.float().network)
        with torch.no_grad():
            path = learner.adapt(tasks.support, 2).params
        changes.append([path[s + 1]["head.weight"] - path[s]["head.weight"] for s in (0, 1)])
    torch.testing.assert_close(changes[1][0], changes[0][0])
    torch.testing.assert_close(changes[1][1], 0.5 * changes[0][1])


def test_the_step_size_of_later_steps_is_no_matter_of_the_query(small):
    """The query side, which judges the adapted policies, keeps its advantages unscaled."""
    learner, _, _ = small(inner_steps=2)
    tasks = Navigation2D(horizon=6, shots=4, queries=4, later_steps=0.5).sample("train", 0, 0, 3)
    fixed = gathered(learner.float(), tasks)
    deviations = [
        Experience.of(side.y).advantage.std(dim=1, correction=0).mean().item()
        for side in (*fixed.support.steps, fixed.query)
    ]
    assert deviations == pytest.approx([1.0, 0.5, 1.0], rel=1e-4)


def test_tasks_are_a_function_of_seed_split_and_index():
    dataset = Navigation2D()
    whole = dataset.sample("train", 3, 0, 7)
    part = dataset.sample("train", 3, 2, 3)
    np.testing.assert_array_equal(part.info["goal"], whole.info["goal"][2:5])
    np.testing.assert_array_equal(part.query.seeds, whole.support.seeds[2:5])
    for split, seed, first in (("train", 3, 1), ("train", 4, 0), ("test", 3, 0)):
        other = dataset.sample(split, seed, first, 1)
        assert (other.info["goal"] != whole.info["goal"][:1]).all()


def test_actions_that_are_not_finite_are_not_stepped_and_their_return_tells(small):
    learner, _, tasks = small()
    params = learner.initial(3)
    weight = params["head.weight"].clone()
    weight[1] = torch.nan
    batch = acting(tasks, learner.network).query(0, params | {"head.weight": weight})
    returns = Experience.of(batch.y).mean_return()
    assert torch.isfinite(returns).tolist() == [True, False, True]
    assert torch.isfinite(batch.x).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"horizon": 1}, "horizon=1: accepted is 2 or more"),
        ({"discount": 1.5}, "discount=1.5: accepted is 0 to 1"),
        ({"gae_lambda": -1.0}, "gae_lambda=-1.0: accepted is 0 to 1"),
        ({"reach": 0.0}, "reach=0.0: accepted is more than 0"),
        ({"queries": 0}, "queries=0: accepted is 1 or more"),
        ({"later_steps": 0.0}, "later_steps=0.0: accepted is more than 0"),
        ({"test_goals_seed": -1}, "test_goals_seed=-1: accepted is 0 to 2^32 - 1, or null"),
    ],
)
def test_bad_options(options, line):
    with pytest.raises(BadValue) as error:
        Navigation2D(**options)
    assert str(error.value) == line


def test_a_policy_has_no_batch_norm():
    tasks = Navigation2D().sample("train", 0, 0, 1)
    with pytest.raises(UserError, match=r"network\.norm=batch: accepted is none or group"):
        acting(tasks, GaussianMLP((2,), 4, norm="batch"))


def test_the_least_standard_deviation():
    network = GaussianMLP((2,), 4, min_sd=1e-3)
    with torch.no_grad():
        network.log_sd.fill_(-20.0)
    deviation = network(torch.zeros(1, 3, 2), None)[..., 2:].exp()
    torch.testing.assert_close(deviation, torch.full((1, 3, 2), 1e-3))


def end_early(environments, lengths, monkeypatch):
    """Give episodes these lengths in turn, shifted by 4 per task; returns who acted each time."""
    step, reset = environments.step, environments.reset
    known, now, acted = [], {}, []

    def begin(goals, episodes, seeds):
        known.extend(goal for goal in goals.tolist() if goal not in known)
        who = torch.tensor([known.index(goal) % 3 for goal in goals.tolist()])
        now["clock"] = 0
        now["lengths"] = lengths[(torch.arange(episodes) + 4 * who.unsqueeze(1)) % len(lengths)]
        acted.append(who.tolist())
        return reset(goals, episodes, seeds)

    def ends(actions):
        now["clock"] += 1
        observed, rewards, _ = step(actions)
        left = now["lengths"] - now["clock"]
        return observed, torch.where(left >= 0, rewards, 0.0), left <= 0

    monkeypatch.setattr(environments, "step", ends)
    monkeypatch.setattr(environments, "reset", begin)
    return acted


def test_short_episodes_are_followed_by_others_until_there_are_steps_enough(small, monkeypatch):
    """Episodes take 1 to 6 steps; once a policy has its 24 steps, no further episode counts."""
    learner, dataset, _ = small()
    learner.float()
    lengths = torch.tensor([6, 1, 2, 1, 3])
    acted = end_early(dataset.environments, lengths, monkeypatch)
    tasks = acting(dataset.sample("test", 0, 0, 3, 4, 4), learner.network)
    params = {  # different for each task
        name: p + 0.1 * torch.arange(3.0).reshape(3, *[1] * (p.dim() - 1))
        for name, p in learner.initial(3).items()
    }
    batch = tasks.support(0, params)
    met = Experience.of(batch.y)
    # only tasks that lack steps act once more
    assert acted[0] == [0, 1, 2]
    turns = [sum(task in who for who in acted) for task in range(3)]
    assert len(set(turns)) > 1
    for task in range(3):
        its = slice(task, task + 1)
        alone = tasks.support[its](0, {name: p[its] for name, p in params.items()})
        own = int(met.taken[task].sum())
        assert alone.y.shape[1] == own  # no empty rows
        torch.testing.assert_close(batch.y[task, :own], alone.y[0], rtol=1e-4, atol=1e-5)
        assert not met.taken[task, own:].any()
    assert batch.y.shape[1] == int(met.taken.sum(dim=1).max()) < 48
    # at meta-training both sides are filled; the return of a test is that of R episodes
    training = acting(dataset.sample("train", 0, 0, 3), learner.network)
    for side in (training.support, training.query):
        assert (Experience.of(side(0, params).y).taken.sum(dim=1) >= 24).all()
    assert (Experience.of(tasks.query(0, params).y).number == 1).sum(dim=1).tolist() == [4, 4, 4]
    for task in range(3):
        own = lengths[(torch.arange(4) + 4 * task) % 5]  # the same in each round
        expected: list[int] = []
        count = 0
        while len(expected) < 24:
            expected += range(1, int(own[count % 4]) + 1)
            count += 1
        number = met.number[task]
        assert number[: len(expected)].tolist() == expected
        assert not number[len(expected) :].any()
        torch.testing.assert_close(met.mean_return()[task], met.reward[task].sum() / count)
        used = met.advantage[task][number > 0]
        assert float(used.mean()) == pytest.approx(0.0, abs=1e-5)
    assert not torch.equal(met.action[2, :8], met.action[2, 8:16])
