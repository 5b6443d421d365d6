"""A tiny environment through the adapter, checked by hand; worker processes that fail."""

import os
import signal
import time

import numpy as np
import pytest
import torch

from mamlbench.errors import BadValue, UserError
from mamlbench.rl.environments.gym_adapter import GymEnvironments

pytest.importorskip("gymnasium", reason="needs the rl extra: gymnasium")


def line(name="Line", workers=0):
    return GymEnvironments(f"tiny_env.{name}", (0.0,), (4.0,), horizon=10, workers=workers)


def test_goals_are_uniform_in_the_box():
    both = GymEnvironments("tiny_env.Line", (0.0, -1.0), (4.0, 1.0), workers=0)
    assert both.goals(np.array([[0.25, 0.5], [0.0, 0.75]])).tolist() == [[1.0, 0.0], [0.0, 0.5]]


def test_rewards_by_hand_and_nothing_after_the_end():
    environments = line()
    first = environments.reset(np.array([[1.0], [3.0]]), 2, np.array([5, 6]))
    x = first[..., 0].clone()
    assert first.shape == (2, 2, 2)
    assert len(set(x.flatten().tolist())) == 4
    # actions in 0 to 4: -1 means 0, 0 means 2, 1 means 4, and 9 is clipped to 1
    actions = torch.tensor([[[-1.0], [0.0]], [[9.0], [-0.5]]])
    moved, rewards, done = environments.step(actions)
    goal = torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(moved[..., 0], x + torch.tensor([[0.0, 2.0], [4.0, 1.0]]))
    torch.testing.assert_close(rewards, -(moved[..., 0] - goal).abs())
    assert not done.any()
    _, rewards, done = environments.step(torch.ones(2, 2, 1))
    assert done.tolist() == (moved[..., 0] + 4.0 > 5.0).tolist()
    assert done[1, 0]
    before = environments.step(torch.zeros(2, 2, 1))
    assert before[1][done].tolist() == [0.0] * int(done.sum())
    assert before[2][done].all()


def test_workers_give_what_one_process_gives():
    goals, seeds = np.array([[0.5], [1.5], [2.5]]), np.array([1, 2, 3])
    actions = torch.linspace(-1.5, 1.5, 4 * 3 * 2).reshape(4, 3, 2, 1)
    met = []
    for workers in (0, 2):
        environments = line(workers=workers)
        met.append([environments.reset(goals, 2, seeds)])
        for action in actions:
            met[-1].extend(environments.step(action))
        environments.close()
    assert all(torch.equal(a, b) for a, b in zip(*met, strict=True))


def test_an_episode_is_the_same_alone_and_among_others():
    many, alone = line(), line()
    goals, seeds = np.array([[0.5], [1.5]]), np.array([8, 9])
    whole = many.reset(goals, 3, seeds)
    assert torch.equal(alone.reset(goals[1:], 1, seeds[1:])[0, 0], whole[1, 0])
    step = torch.full((2, 3, 1), 0.1)
    part = alone.step(step[1:, :1])
    for one, all_ in zip(part, many.step(step), strict=True):
        assert torch.equal(one[0, 0], all_[1, 0])


def test_a_killed_worker_is_noticed_and_named():
    environments = line(workers=2)
    environments.reset(np.array([[0.5], [1.5], [2.5], [3.5]]), 2, np.arange(4))
    victim = environments.workers.processes[1]
    os.kill(victim.pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        environments.step(torch.zeros(4, 2, 1))
    assert time.monotonic() - began < 5.0
    expected = f"environment worker 1 of 2 (process {victim.pid}, tasks 2 to 3 of the batch) died"
    assert str(caught.value).startswith(expected)
    assert "SIGKILL" in str(caught.value)
    environments.close()


def test_signals_to_all_processes_of_a_run_leave_its_workers():
    """The run itself saves its state and ends them."""
    environments = line(workers=1)
    environments.reset(np.array([[0.5]]), 1, np.arange(1))
    (worker,) = environments.workers.processes
    assert os.getpgid(worker.pid) != os.getpgid(0)  # `timeout` signals a whole group
    os.kill(worker.pid, signal.SIGUSR1)  # SLURM may signal each process
    environments.step(torch.zeros(1, 1, 1))
    assert worker.is_alive()
    environments.close()


def test_a_worker_that_dies_while_it_steps_is_named():
    environments = line("Deadly", workers=2)
    environments.reset(np.array([[1.0], [3.0]]), 1, np.arange(2))
    with pytest.raises(UserError, match=r"worker 0 of 2 .*tasks 0 to 0.* died \(SIGKILL\)"):
        environments.step(torch.zeros(2, 1, 1))
    environments.close()


@pytest.mark.parametrize(
    ("workers", "who"), [(1, r"worker 0 of 1 .*failed: "), (0, "the environment failed: ")]
)
def test_what_an_environment_raises_comes_as_one_line(workers, who):
    environments = line("Broken", workers=workers)
    environments.reset(np.array([[0.5]]), 1, np.arange(1))
    told = rf"{who}.*tiny_env\.py, line \d+: ValueError: the floor is missing"
    with pytest.raises(UserError, match=told):
        environments.step(torch.zeros(1, 1, 1))
    environments.close()


def test_values_that_are_not_finite_are_named_by_their_task():
    environments = line("Unsound")
    environments.reset(np.array([[0.5], [0.6]]), 2, np.arange(2))
    with pytest.raises(UserError, match="observation of task 0, episode 0: not finite, but must"):
        environments.step(torch.zeros(2, 2, 1))
    action = torch.zeros(2, 2, 1)
    action[1, 1] = torch.nan
    with pytest.raises(UserError, match="action of task 1, episode 1: not finite"):
        environments.step(action)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_observation_has_the_size_that_its_space_declares(workers):
    environments = line("Short", workers=workers)
    environments.reset(np.array([[0.5]]), 1, np.arange(1))
    told = r"environment=tiny_env\.Short: an observation has 1 value; accepted is 2, as in its"
    with pytest.raises(UserError, match=told):
        environments.step(torch.zeros(1, 1, 1))
    environments.close()


@pytest.mark.parametrize(
    "name",
    [
        *("tiny_env.Nothing", "no_such_module.Line", "NoSuch-v9", None),
        *("tiny_env.os", "fractions.Fraction", "tiny_env.Unbuildable"),
    ],
)
def test_what_is_no_environment(name):
    shown = "null" if name is None else name
    with pytest.raises(BadValue, match=f"environment={shown}: accepted is package.module.name"):
        GymEnvironments(name, (0.0,), (1.0,))


def test_other_bad_values():
    with pytest.raises(BadValue, match=r"Discrete.3.*: accepted is continuous, bounded actions"):
        line("Discrete")
    with pytest.raises(BadValue, match=r"^environment=with observations Dict.*: accepted is an a"):
        line("Named")
    with pytest.raises(BadValue, match="horizon=1: accepted is 2 or more"):
        GymEnvironments("tiny_env.Line", (0.0,), (1.0,), horizon=1)
    with pytest.raises(BadValue, match="goal_high="):
        GymEnvironments("tiny_env.Line", (0.0,), (1.0, 2.0))


def test_an_episode_that_is_cut_short_is_over():
    """For example by gymnasium's own time limit, after which it must not be stepped."""
    environments = line("Cut")
    environments.reset(np.array([[1.0]]), 1, np.array([5]))
    ends = [environments.step(torch.zeros(1, 1, 1)) for _ in range(4)]
    assert [bool(done) for _, _, done in ends] == [False, True, True, True]
    assert [float(reward) == 0.0 for _, reward, _ in ends] == [False, False, True, True]
