"""Rewards and ends at chosen states, against MuJoCo's quantities and by hand; determinism."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mamlbench.errors import BadValue, UserError
from mamlbench.rl.environments.ant import AntDir, AntGoal, AntVel
from mamlbench.rl.environments.half_cheetah import HalfCheetahDir, HalfCheetahVel
from mamlbench.run.provenance import versions

gymnasium = pytest.importorskip("gymnasium", reason="needs the rl extra: gymnasium")
mujoco = pytest.importorskip("mujoco", reason="needs the rl extra: mujoco")

ALL = [HalfCheetahDir, HalfCheetahVel, AntDir, AntVel, AntGoal]
# rewards by hand, without costs: v and p are the centre of mass's velocity and position
PROGRESS = {
    HalfCheetahDir: lambda v, p, goal: goal * v[0],
    HalfCheetahVel: lambda v, p, goal: -abs(v[0] - goal),
    AntDir: lambda v, p, goal: goal * v[0] + 0.05,
    AntVel: lambda v, p, goal: 1.0 - abs(v[0] - goal) + 0.05,
    AntGoal: lambda v, p, goal: 4.0 - abs(p[0] - goal[0]) - abs(p[1] - goal[1]) + 0.05,
}


def simulated(environments, state, control, steps):
    """One simulation in its own `MjData`, stepped in the usual way; `state` is [1 + nq + nv]."""
    model = mujoco.MjModel.from_xml_string(model_text(environments.model_name))
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = np.split(state[1:], [model.nq])
    data.ctrl[:] = control
    for _ in range(steps):
        mujoco.mj_step(model, data)
    mujoco.mj_forward(model, data)
    mujoco.mj_rnePostConstraint(model, data)
    mujoco.mj_subtreeVel(model, data)
    return data


def model_text(name):

    import gymnasium.envs.mujoco

    assets = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
    text = (assets / f"{name}.xml").read_text()
    if name == "ant":  # rllab's model, which MAML's code used
        text = text.replace('timestep="0.01"', 'timestep="0.02"')
        text = text.replace("<geom ", '<geom solref=".02 1" solimp=".8 .8 .01" ', 1)
    if "settotalmass" in text:  # deprecated; equal to scaling the density of all geoms like this
        free = mujoco.MjModel.from_xml_string(text.replace('settotalmass="14"', ""))
        density = 1000.0 * 14.0 / free.body_subtreemass[0]
        text = text.replace('settotalmass="14"', "")
        text = text.replace(
            "<geom conaffinity=", f'<geom density="{float(density)!r}" conaffinity=', 1
        )
    return text


def observed(environments, data):
    if environments.model_name == "half_cheetah":
        return np.concatenate([data.qpos[1:], data.qvel, data.subtree_com[1]])
    force = np.clip(data.cfrc_ext, -1, 1).ravel()
    return np.concatenate([data.qpos, data.qvel, force, data.xmat[1], data.subtree_com[1]])


def some_states(environments, count, seed=0):
    """States [1, count, 1 + nq + nv] of bodies on and above the floor, in many postures."""
    rng = np.random.default_rng(seed)
    nq, nv = environments.model.nq, environments.model.nv
    position = environments.start + 0.3 * rng.standard_normal((count, nq))
    if environments.model_name == "ant":
        position[:, 2] = np.linspace(0.3, 0.7, count)
        position[:, 3:7] /= np.linalg.norm(position[:, 3:7], axis=-1, keepdims=True)
    velocity = rng.standard_normal((count, nv))
    return np.concatenate([np.zeros((count, 1)), position, velocity], axis=-1)[None]


@pytest.mark.parametrize("cls", ALL)
def test_observations_and_rewards_are_those_of_the_simulator(cls):
    environments = cls(horizon=5)
    states = some_states(environments, 8)
    goals = environments.goals(np.full((1, environments.goal_words), 0.3))
    first = environments.reset_to(goals, states)
    actions = 2.5 * np.random.default_rng(1).random((1, 8, environments.action_size)) - 1.0
    after, rewards, _ = environments.step(torch.from_numpy(actions))
    touched = 0
    for i in range(8):
        at_first = simulated(environments, states[0, i], 0.0, 0)
        np.testing.assert_allclose(first[0, i], observed(environments, at_first), 1e-4, 1e-5)
        a = actions[0, i].clip(-1.0, 1.0)
        data = simulated(environments, states[0, i], a, environments.frame_skip)
        np.testing.assert_allclose(after[0, i], observed(environments, data), 1e-4, 2e-4)
        cost = 0.05 * (a @ a)
        if environments.model_name == "ant":
            force = np.clip(data.cfrc_ext, -1, 1)
            cost = 0.005 * (a @ a) + 0.0005 * (force * force).sum()
            touched += bool(force.any())
        want = PROGRESS[cls](data.subtree_linvel[1], data.subtree_com[1], goals[0]) - cost
        assert rewards[0, i].item() == pytest.approx(want, abs=1e-4)
    assert environments.model_name != "ant" or touched >= 2


def test_the_cheetah_weighs_fourteen_kilograms():
    assert HalfCheetahDir().model.body_subtreemass[0] == pytest.approx(14.0)


def test_reward_by_hand_of_a_cheetah_that_flies():
    # 2 m up, all parts at rest except for 3 m/s along x: no external force acts along x
    environments = HalfCheetahDir()
    state = np.zeros((2, 1, 19))
    state[..., 2], state[..., 10] = 2.0, 3.0
    action = torch.zeros(2, 1, 6)
    environments.reset_to(np.array([1.0, -1.0]), state)
    _, rewards, done = environments.step(action)
    assert rewards.flatten().tolist() == pytest.approx([3.0, -3.0], abs=1e-5)
    assert not done.any()
    # half the torque of two joints costs 0.05 * 2 * 0.25; v changes by 0.001 in the time step
    action[..., :2] = 0.5
    environments.reset_to(np.array([1.0, -1.0]), state)
    _, rewards, done = environments.step(action)
    assert rewards.flatten().tolist() == pytest.approx([2.975, -3.025], abs=2e-3)


def ant_at(height):
    state = np.concatenate([[0.0], AntVel().start, np.zeros(14)])
    state[3] = height
    return state


def test_the_heights_at_which_an_ant_is_over():
    heights = [0.199, 0.2, 0.6, 1.0, 1.001, np.nan]
    over = AntVel().over(np.stack([ant_at(height) for height in heights]))
    assert over.tolist() == [True, False, False, False, True, True]


def test_an_ant_that_is_over_stands_still_without_rewards():
    environments = AntVel()
    environments.reset_to(np.array([1.0]), np.stack([ant_at(1.1), ant_at(0.8)])[None])
    still = torch.zeros(1, 2, 8)
    last, rewards, done = environments.step(still)
    assert done.tolist() == [[True, False]]
    assert rewards[0, 0] != 0.0  # the last step counts
    for _ in range(2):
        observation, rewards, done = environments.step(still)
        assert done.tolist() == [[True, False]]
        assert rewards[0, 0] == 0.0
        assert rewards[0, 1] != 0.0
        assert torch.equal(observation[0, 0], last[0, 0])


def test_episodes_that_are_all_over_may_be_stepped_on():
    environments = AntVel()
    environments.reset_to(np.array([1.0]), ant_at(1.1)[None, None])
    last, _, _ = environments.step(torch.zeros(1, 1, 8))
    observation, rewards, done = environments.step(torch.ones(1, 1, 8))
    assert torch.equal(observation, last)
    assert rewards.tolist() == [[0.0]]
    assert done.all()


def test_goals():
    u = np.array([[0.1, 0.9], [0.6, 0.5]])
    for cls in (HalfCheetahDir, AntDir):
        assert cls().goals(u).tolist() == [-1.0, 1.0]
    assert HalfCheetahVel().goals(u).tolist() == pytest.approx([0.2, 1.2])
    assert AntVel().goals(u).tolist() == pytest.approx([0.3, 1.8])
    np.testing.assert_allclose(AntGoal().goals(u), [[-2.4, 2.4], [0.6, 0.0]])


@pytest.mark.parametrize("cls", [HalfCheetahVel, AntGoal])
def test_an_episode_depends_on_its_goal_seed_and_actions_alone(cls):
    goals = cls().goals(np.random.default_rng(0).random((3, cls.goal_words)))
    seeds = np.array([11, 12, 13])
    generator = torch.Generator().manual_seed(0)
    actions = 2 * torch.rand(12, 3, 4, cls().action_size, generator=generator) - 1

    def met(tasks, episodes, threads):
        environments = cls(threads=threads)
        environments.reset(goals[:1], 2, seeds[:1])  # earlier episodes must not matter
        environments.step(actions[0, :1, :2])
        found = [environments.reset(goals[tasks], episodes, seeds[tasks])]
        for action in actions:
            found += environments.step(action[tasks, :episodes])
        environments.close()
        return found

    whole = met(slice(3), 4, threads=2)
    assert all(map(torch.equal, whole, met(slice(3), 4, threads=1)))
    for part, everything in zip(met(slice(1, 2), 2, threads=1), whole, strict=True):
        assert torch.equal(part, everything[1:2, :2])


def test_first_states_have_the_noise_of_mamls_code():
    environments = HalfCheetahDir()
    environments.reset(np.ones(40), 50, np.arange(40))
    states = environments.states.reshape(2000, 19)
    deviation = states.std(0)
    np.testing.assert_allclose(deviation[1:10], 0.01, rtol=0.1)
    np.testing.assert_allclose(deviation[10:], 0.1, rtol=0.1)
    np.testing.assert_allclose(states.mean(0)[1:], 0.0, atol=0.01)


def test_bad_input_is_named():
    with pytest.raises(BadValue, match="horizon=1: accepted is 2 or more"):
        AntDir(horizon=1)
    environments = HalfCheetahDir()
    environments.reset(np.ones(2), 2, np.arange(2))
    actions = torch.zeros(2, 2, 6)
    actions[1, 0, 3] = torch.inf
    with pytest.raises(UserError, match="action of task 1, episode 0: not finite"):
        environments.step(actions)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)  # python takes None as not installed
    with pytest.raises(UserError, match=r"^mujoco: .*pip install -e '\.\[rl\]'` in the checkout$"):
        AntDir()


def test_versions_of_the_simulator_are_recorded():
    found = versions()
    assert found["mujoco"] == mujoco.__version__
    assert found["gymnasium"] == gymnasium.__version__


def test_an_unknown_environment():
    import mamlbench.algorithms  # noqa: F401  which the datasets build on
    from mamlbench.rl.locomotion import Locomotion

    with pytest.raises(BadValue, match=r"environment=ant_dri: .* \(did you mean 'ant_dir'\?\)"):
        Locomotion("ant_dri")
