"""The paths of a policy in the plane, before and after adaptation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mamlbench.algorithms.base import MetaLearner
from mamlbench.evaluation import TEST_SEED, Protocol
from mamlbench.figures import style
from mamlbench.hardware.device import Hardware
from mamlbench.rl.control import Navigation2D
from mamlbench.rl.experience import Experience
from mamlbench.rl.gathering import acting, met_by
from mamlbench.words import number_of

_SHOWN_TASKS = 4
_SHOWN_EPISODES = 5


@torch.no_grad()
def draw_trajectories(
    learner: MetaLearner,
    dataset: Navigation2D,
    protocol: Protocol,
    hardware: Hardware,
    out: Path,
) -> None:
    """Draw some episodes of the first meta-test tasks after 0, 1 and all inner steps.

    Args:
        learner: the tested learner.
        dataset: loaded.
        protocol: of the test.
        hardware: determines the precision.
        out: PNG file.
    """
    sizes = protocol.shots_and_queries(dataset, "test")
    tasks = hardware.cast(dataset.sample("test", TEST_SEED, 0, _SHOWN_TASKS, *sizes))
    tasks = acting(tasks, learner.network, learner.particles)
    learner.eval()
    adapted = learner.adapt(tasks.support, protocol.inner_steps)
    last = len(adapted.params) - 1
    paths = {}
    for step in sorted({0, min(1, last), last}):
        met = met_by(tasks.query, step, adapted.params[step])
        # the episodes of all particles, if there are several
        x, y = (values.reshape(len(tasks), -1, values.shape[-1]) for values in (met.x, met.y))
        numbers = Experience.of(y).number
        paths[step] = [_some(*task) for task in zip(x, numbers, strict=True)]
    goals = (tasks.info or {})["goal"]
    trajectories(goals, paths, out)


def _some(positions: Tensor, numbers: Tensor) -> list[np.ndarray]:
    """The positions [H, 2] in some episodes of one task; `numbers` are as in `Experience`."""
    begins = torch.nonzero(numbers == 1).flatten()
    apart = max(1, len(begins) // _SHOWN_EPISODES)
    episodes = positions.tensor_split(begins[1:].cpu())
    taken = numbers.tensor_split(begins[1:].cpu())
    shown = [path[number > 0] for path, number in zip(episodes, taken, strict=True)]
    return [path.cpu().numpy() for path in shown[::apart][:_SHOWN_EPISODES]]


def trajectories(
    goals: np.ndarray, paths: Mapping[int, Sequence[Sequence[np.ndarray]]], out: Path
) -> None:
    """Draw paths and goals: one row per number of inner steps, one column per task.

    Args:
        goals: [T, 2].
        paths: by number of inner steps, for each task the positions [H, 2] in some episodes.
        out: PNG file.
    """
    rows, columns = len(paths), len(goals)
    with style.figure(out, 0.6 + 2.3 * columns, 0.5 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for row, (step, positions) in zip(panels, sorted(paths.items()), strict=True):
            for axes, goal, episodes in zip(row, goals, positions, strict=True):
                _draw(axes, goal, episodes)
            row[0].set_ylabel(f"after {number_of(step, 'step')}")
        extent = 1.7 * float(np.abs(goals).max())
        panels[0, 0].set(xlim=(-extent, extent), ylim=(-extent, extent))
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)


def _draw(axes: Axes, goal: np.ndarray, episodes: Sequence[np.ndarray]) -> None:
    for place, path in enumerate(episodes):
        label = "episodes" if place == 0 else None
        axes.plot(path[:, 0], path[:, 1], color=style.BLUE, lw=0.9, alpha=0.6, label=label)
    mark: dict[str, Any] = {"ls": "", "zorder": 5, "mec": "white"}
    axes.plot(0.0, 0.0, marker="o", ms=6, color=style.INK, label="start", **mark)
    axes.plot(goal[0], goal[1], marker="*", ms=12, color=style.ORANGE, label="goal", **mark)
    axes.set_aspect("equal")
