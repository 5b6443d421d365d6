"""The point: rewards, ends and clipping at states chosen by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mamlbench.rl.environments import PointEnvironments

SEEDS = np.zeros(1, dtype=np.int64)


def stepped(environments, goal, *actions):
    """Observations, rewards and ends of one episode."""
    first = environments.reset(np.array([goal]), 1, SEEDS)
    assert first.tolist() == [[[0.0, 0.0]]]
    steps = [environments.step(torch.tensor([[action]])) for action in actions]
    return [(o[0, 0].tolist(), float(r[0, 0]), bool(d[0, 0])) for o, r, d in steps]


def test_a_reward_is_minus_the_distance_after_the_step():
    (position, reward, done) = stepped(PointEnvironments(), [0.3, 0.4], [0.5, 0.0])[0]
    assert position == pytest.approx([0.05, 0.0])
    assert reward == pytest.approx(-math.hypot(0.25, 0.4))
    assert not done


def test_the_papers_reward_is_squared():
    environments = PointEnvironments(squared=True)
    assert stepped(environments, [0.3, 0.4], [0.0, 0.0])[0][1] == pytest.approx(-0.25)


def test_actions_are_clipped_to_a_step_of_a_tenth():
    (position, _, _) = stepped(PointEnvironments(), [0.3, 0.4], [7.0, -7.0])[0]
    assert position == pytest.approx([0.1, -0.1])


@pytest.mark.parametrize(
    ("goal", "ends"),
    [
        ([0.109, 0.0], True),
        ([0.109, -0.009], True),  # within 0.01 on each axis, though the distance is more
        ([0.111, 0.0], False),
        ([0.1, 0.011], False),
    ],
)
def test_an_episode_ends_within_a_hundredth_of_the_goal(goal, ends):
    assert stepped(PointEnvironments(), goal, [1.0, 0.0])[0][2] is ends


def test_the_last_step_counts_and_those_after_it_do_not():
    goal = [0.105, 0.0]
    first, second, third = stepped(PointEnvironments(), goal, [1.0, 0.0], [1.0, 0.0], [0.0, 0.0])
    assert first[1:] == (pytest.approx(-0.005), True)
    assert second[1:] == (0.0, True)
    assert third[1:] == (0.0, True)


def test_goals_fill_the_square():
    u = np.array([[0.0, 0.5], [0.25, 0.999]])
    goals = PointEnvironments().goals(u)
    np.testing.assert_allclose(goals, [[-0.5, 0.0], [-0.25, 0.499]])


def test_together_equals_one_at_a_time():
    goals = PointEnvironments().goals(np.random.default_rng(0).random((3, 2)))
    actions = torch.randn(20, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    together, alone = PointEnvironments(), PointEnvironments()
    together.reset(goals, 4, np.arange(3))
    steps = [together.step(a) for a in actions]
    for task in range(3):
        for episode in range(4):
            alone.reset(goals[task : task + 1], 1, SEEDS)
            for a, (position, reward, done) in zip(actions, steps, strict=True):
                own = alone.step(a[task : task + 1, episode : episode + 1])
                assert torch.equal(own[0][0, 0], position[task, episode])
                assert torch.equal(own[1][0, 0], reward[task, episode])
                assert torch.equal(own[2][0, 0], done[task, episode])
