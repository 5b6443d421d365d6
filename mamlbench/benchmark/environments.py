"""The command line of `scripts/environment_speed.py`: environment steps per second."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mamlbench.cli.arguments import OneLineParser, exit_code_of
from mamlbench.rl.environments import (
    LOCOMOTION,
    Environments,
    GymEnvironments,
    PointEnvironments,
)
from mamlbench.rl.environments.gym_adapter import maker


def HalfCheetah() -> Any:  # noqa: N802  named as what it makes
    """Gymnasium's `HalfCheetah-v5` with one time step per step, as in ours."""
    make: Any = maker("HalfCheetah-v5")
    return make(frame_skip=1)


def Ant() -> Any:  # noqa: N802
    """`Ant-v5`, likewise."""
    make: Any = maker("Ant-v5")
    return make(frame_skip=1)


def main(arguments: Sequence[str]) -> int:
    """Run the command line, which starts with the script's name; returns the exit code."""
    return exit_code_of("environment_speed.py", lambda: _run(arguments[1:]))


def _run(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in ("episodes", "steps", "repeats"):
        if (value := getattr(options, name)) < 1:
            parser.error(f"--{name} {value}: accepted is 1 or more")
    size = options.episodes, options.steps, options.repeats
    _tell("navigation2d, in torch", batched(PointEnvironments(), *size))
    for name, kind in LOCOMOTION.items():
        make: Any = kind
        _tell(f"{name}, MuJoCo's threads", batched(make(threads=options.threads), *size))
    for body in (HalfCheetah, Ant):
        name = f"gymnasium's {body.__name__}-v5"
        _tell(f"{name}, one by one", one_by_one(body(), 10 * options.steps, options.repeats))
        workers = GymEnvironments(f"{__name__}.{body.__name__}", (0.0,), (1.0,))
        _tell(f"{name}, worker processes", batched(workers, *size))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("environment_speed.py", description="Environment steps per second.")
    parser.add_argument("--episodes", type=int, default=400, help="episodes at once (default: 400)")
    parser.add_argument("--steps", type=int, default=50, help="steps of each episode (default: 50)")
    parser.add_argument("--repeats", type=int, default=3, help="the median counts (default: 3)")
    parser.add_argument("--threads", type=int, default=None, help="MuJoCo's (default: all cores)")
    return parser


def _tell(label: str, rate: float) -> None:
    print(f"| {label} | {rate:,.0f} |", flush=True)


def batched(environments: Environments, episodes: int, steps: int, repeats: int) -> float:
    """Steps per second of `episodes` under random actions, median over repeats.

    Closes the environments.
    """
    goals = environments.goals(np.full((1, environments.goal_words), 0.6))
    generator = torch.Generator().manual_seed(0)
    shape = (1, episodes, environments.action_size)
    actions = [2 * torch.rand(shape, generator=generator) - 1 for _ in range(steps)]
    rates = []
    for repeat in range(1 + repeats):  # the first does not count
        environments.reset(goals, episodes, np.array([repeat]))
        taken, began = 0, time.perf_counter()
        running = torch.ones(1, episodes, dtype=torch.bool)
        for action in actions:
            taken += int(running.sum())
            running &= ~environments.step(action)[2]
        rates.append(taken / (time.perf_counter() - began))
    environments.close()
    return statistics.median(rates[1:])


def one_by_one(environment: Any, steps: int, repeats: int) -> float:
    """The same for one gymnasium environment in a plain loop, without our code."""
    environment.action_space.seed(0)
    rates = []
    for repeat in range(1 + repeats):
        environment.reset(seed=repeat)
        actions = [environment.action_space.sample() for _ in range(steps)]
        began = time.perf_counter()
        for action in actions:
            if environment.step(action)[2]:
                environment.reset()
        rates.append(steps / (time.perf_counter() - began))
    environment.close()
    return statistics.median(rates[1:])
