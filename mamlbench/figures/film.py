"""The motion of a body before and after adaptation, as a strip of frames and a clip."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mamlbench.algorithms.base import MetaLearner
from mamlbench.errors import UserError
from mamlbench.evaluation import TEST_SEED, Protocol
from mamlbench.figures import style
from mamlbench.hardware.device import Hardware
from mamlbench.rl.environments.base import Environments
from mamlbench.rl.environments.mujoco import MuJoCoEnvironments
from mamlbench.rl.environments.rendering import frames, write_clip
from mamlbench.rl.gathering import acting
from mamlbench.rl.locomotion import Locomotion
from mamlbench.words import number_of

_FRAMES = 6
_CLIP_EVERY = 4
_TASKS = 2


class _Watched(Environments):
    """Environments that record the states of each task's first episode."""

    def __init__(self, environments: Environments, bodies: MuJoCoEnvironments) -> None:
        self._acted, self._bodies = environments, bodies
        self.horizon, self.action_size = environments.horizon, environments.action_size
        self.observation_size = environments.observation_size
        self.states: list[np.ndarray] = []

    @override
    def goals(self, u: np.ndarray) -> np.ndarray:
        return self._acted.goals(u)

    @override
    def reset(self, goals: np.ndarray, episodes: int, seeds: np.ndarray) -> Tensor:
        observed = self._acted.reset(goals, episodes, seeds)
        self.states = [self._bodies.states[:, 0]]
        return observed

    @override
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        result = self._acted.step(actions)
        self.states.append(self._bodies.states[:, 0])
        return result

    @property
    def film(self) -> np.ndarray:
        """States [H + 1, T, values]; the last state repeats once all episodes have ended."""
        left = self.horizon + 1 - len(self.states)
        return np.stack(self.states + left * self.states[-1:])


@torch.no_grad()
def draw_film(
    learner: MetaLearner,
    dataset: Locomotion,
    protocol: Protocol,
    hardware: Hardware,
    folder: Path,
) -> None:
    """Draw `frames.png` and `clip.gif` of the first meta-test tasks.

    The frames show an episode of each task before and after adaptation, the clip the first task's
    after adaptation. If this machine cannot render without a screen, only logs the reason.

    Args:
        learner: the tested learner.
        dataset: loaded.
        protocol: of the test.
        hardware: determines the precision.
        folder: where the files go.
    """
    watched = _Watched(dataset.environments, dataset.bodies)
    shots, _ = protocol.shots_and_queries(dataset, "test")
    tasks = hardware.cast(dataset.sample("test", TEST_SEED, 0, _TASKS, shots, 1))
    tasks = acting(tasks, learner.network, learner.particles)
    learner.eval()
    adapted = learner.adapt(tasks.support, protocol.inner_steps)
    query: Any = replace(tasks.query, environments=watched, fill=False)  # type: ignore[call-arg]
    films = {}
    for step in sorted({0, len(adapted.params) - 1}):
        query(step, adapted.params[step])
        films[step] = watched.film
    try:
        _strip(dataset.bodies, films, folder / "frames.png")
        seconds = _CLIP_EVERY * dataset.bodies.frame_skip * dataset.bodies.model.opt.timestep
        clip = frames(dataset.bodies, films[max(films)][::_CLIP_EVERY, 0])
        write_clip(folder / "clip.gif", clip, seconds)
    except UserError as error:
        logging.getLogger(__name__).warning("frames.png and clip.gif are not drawn: %s", error)


def _strip(bodies: MuJoCoEnvironments, films: dict[int, np.ndarray], out: Path) -> None:
    """Draw a row for each task and number of inner steps; `films` are states [F, T, values]."""
    shown = [(task, step) for task in range(_TASKS) for step in films]
    times = np.linspace(0, len(films[0]) - 1, _FRAMES).astype(int)
    pictures = [frames(bodies, films[step][times, task]) for task, step in shown]
    with style.figure(out, 0.6 + 1.6 * _FRAMES, 0.3 + 1.2 * len(shown)) as figure:
        panels = figure.subplots(len(shown), _FRAMES, squeeze=False)
        for row, (task, step), film in zip(panels, shown, pictures, strict=True):
            for axes, picture, time in zip(row, film, times, strict=True):
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.set_title(f"t = {time}" if task == step == 0 else "", fontsize=8)
            row[0].set_ylabel(f"task {task}\nafter {number_of(step, 'step')}", fontsize=8)
