"""Environment steps a second, of each environment that is installed: ours, and gymnasium's own.

python scripts/environment_speed.py --episodes 400 --steps 50
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from mamlbench.rl.environments import (
    LOCOMOTION,
    Environments,
    GymEnvironments,
    MuJoCoEnvironments,
    PointEnvironments,
)
from mamlbench.rl.environments.gym_adapter import maker


def steps_a_second(environments: Environments, episodes: int, steps: int, repeats: int) -> float:
    """Median over repeats of the rate at which `episodes` advance under random actions."""
    goals = environments.goals(np.full((1, environments.goal_words), 0.6))
    generator = torch.Generator().manual_seed(0)
    shape = (1, episodes, environments.action_size)
    actions = [2 * torch.rand(shape, generator=generator) - 1 for _ in range(steps)]
    rates = []
    for repeat in range(1 + repeats):  # the first is not counted
        environments.reset(goals, episodes, np.array([repeat]))
        taken, began = 0, time.perf_counter()
        running = torch.ones(1, episodes, dtype=torch.bool)
        for action in actions:
            taken += int(running.sum())
            running &= ~environments.step(action)[2]
        rates.append(taken / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def share_of_mujoco(environments: MuJoCoEnvironments, episodes: int, steps: int) -> float:
    """The part of the time of a step that is spent inside of MuJoCo's own call."""
    pool: Any = environments.physics._pool
    inside, rollout = [0.0], pool.rollout

    def timed(*arguments: Any, **options: Any) -> None:
        began = time.perf_counter()
        rollout(*arguments, **options)
        inside[0] += time.perf_counter() - began

    goals = environments.goals(np.full((1, environments.goal_words), 0.6))
    environments.reset(goals, episodes, np.array([0]))
    action = torch.zeros(1, episodes, environments.action_size)
    pool.rollout = timed
    began = time.perf_counter()
    for _ in range(steps):
        environments.step(action)
    whole = time.perf_counter() - began
    pool.rollout = rollout
    return inside[0] / whole


def plain(name: str, steps: int, repeats: int) -> float:
    """The same for one gymnasium environment, in a loop, without anything of ours."""
    make: Any = maker(name)
    env = make(frame_skip=1)
    env.action_space.seed(0)
    rates = []
    for repeat in range(1 + repeats):
        env.reset(seed=repeat)
        actions = [env.action_space.sample() for _ in range(steps)]
        began = time.perf_counter()
        for action in actions:
            if env.step(action)[2]:
                env.reset()
        rates.append(steps / (time.perf_counter() - began))
    return statistics.median(rates[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=400)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="default: as many as cores")
    given = parser.parse_args()
    shape = given.episodes, given.steps, given.repeats
    rows = {"navigation2d, in torch": steps_a_second(PointEnvironments(), *shape)}
    for name, kind in LOCOMOTION.items():
        environments = kind(threads=given.threads)
        rate = steps_a_second(environments, *shape)
        inside = share_of_mujoco(environments, given.episodes, given.steps)
        rows[f"{name}, threads of MuJoCo, {inside:.0%} of the time in its own call"] = rate
        environments.close()
    for name in ("HalfCheetah-v5", "Ant-v5"):
        rows[f"{name}, one by one"] = plain(name, 10 * given.steps, given.repeats)
        adapted = GymEnvironments(f"mamlbench.benchmark.gym_rivals.{name[:-3]}", (0.0,), (1.0,))
        rows[f"{name}, worker processes"] = steps_a_second(adapted, *shape)
        adapted.close()
    for label, rate in rows.items():
        print(f"| {label} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
