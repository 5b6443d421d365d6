"""The figures of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamlbench.algorithms.adapted import Adapted
from mamlbench.algorithms.base import MetaLearner
from mamlbench.datasets.base import Dataset
from mamlbench.datasets.circles2d import Circles2D
from mamlbench.datasets.functions import Functions
from mamlbench.evaluation import TEST_SEED, Protocol
from mamlbench.figures import sampled, scores
from mamlbench.figures import tasks as task_figures
from mamlbench.figures.film import draw_film
from mamlbench.figures.label_curves import label_curves
from mamlbench.figures.reliability import reliability_diagram
from mamlbench.figures.trajectories import draw_trajectories
from mamlbench.hardware.device import Hardware
from mamlbench.objectives import Classification
from mamlbench.rl.control import Navigation2D
from mamlbench.rl.locomotion import Locomotion
from mamlbench.run.folder import RunFolder
from mamlbench.tasks import TaskBatch

_SHOWN_TASKS = 4
_CURVE_POINTS = 200
_SHOWN_CIRCLES = 6
_GRID_POINTS = 101


def draw_figures(
    folder: RunFolder,
    learner: MetaLearner,
    dataset: Dataset,
    protocol: Protocol,
    hardware: Hardware,
    summary: Mapping[str, Any],
) -> None:
    """Draw the figures that suit the problem into the run's `figures/`.

    Args:
        folder: the run's folder, with its `metrics.csv` if there is one.
        learner: the tested learner.
        dataset: loaded.
        protocol: of the test.
        hardware: determines the precision.
        summary: of the run, as in `summary.json`.
    """
    out = folder.figures
    if (folder.path / "metrics.csv").is_file():
        scores.learning_curve(folder.path / "metrics.csv", out / "learning_curve.png")
    metric = learner.objective.metric
    scores.score_by_step(summary["test"]["by_step"], metric, out / f"{metric}_by_step.png")
    if "reliability" in summary:
        reliability_diagram(summary["reliability"], summary["test"]["ece"], out / "reliability.png")
    if "active_learning" in summary:
        label_curves(summary["active_learning"]["curve"], metric, out / "active_learning.png")
    if isinstance(dataset, Functions):
        _draw_fits(folder, learner, dataset, protocol, hardware)
    elif isinstance(dataset, Circles2D):
        _draw_boundaries(folder, learner, dataset, protocol, hardware)
    elif isinstance(dataset, Navigation2D):
        draw_trajectories(learner, dataset, protocol, hardware, out / "trajectories.png")
    elif isinstance(dataset, Locomotion):
        draw_film(learner, dataset, protocol, hardware, out)
    elif isinstance(dataset.objective, Classification) and len(dataset.input_shape) == 3:
        tasks = dataset.sample(
            "test", TEST_SEED, 0, 4, *protocol.shots_and_queries(dataset, "test")
        )
        sides = (tasks.support.x, tasks.support.y, tasks.query.x, tasks.query.y)
        x, y, query_x, query_y = (side.cpu().numpy() for side in sides)
        task_figures.task_sheet(x, y, query_x, query_y, out / "tasks.png")


@torch.no_grad()
def _draw_fits(
    folder: RunFolder,
    learner: MetaLearner,
    dataset: Functions,
    protocol: Protocol,
    hardware: Hardware,
) -> None:
    shots, _ = protocol.shots_and_queries(dataset, "test")
    tasks = dataset.sample("test", TEST_SEED, 0, _SHOWN_TASKS, shots, 1)
    x = np.linspace(*dataset.domain, _CURVE_POINTS)
    grid = dataset.inputs(tasks.info or {}, np.tile(x, (_SHOWN_TASKS, 1)))
    inputs = torch.as_tensor(grid, dtype=torch.float32, device=dataset.device)
    tasks, adapted = _adapted(learner, tasks, inputs, protocol, hardware)
    last = len(adapted.params) - 1
    outputs = {
        step: learner.predict(adapted, tasks.query.x, step)[..., 0].cpu().numpy()
        for step in sorted({0, min(1, last), last})
    }
    fits = {step: values.mean(1) for step, values in outputs.items()}
    truth = dataset.curve(tasks.info or {}, x)
    points = (tasks.support.x[..., 0].cpu().numpy(), tasks.support.y[..., 0].cpu().numpy())
    task_figures.fits(x, truth, *points, fits, folder.figures / "fits.png")
    if adapted.particles > 1:
        sampled.functions(x, truth, *points, outputs[last], folder.figures / "samples.png")


@torch.no_grad()
def _draw_boundaries(
    folder: RunFolder,
    learner: MetaLearner,
    dataset: Circles2D,
    protocol: Protocol,
    hardware: Hardware,
) -> None:
    shots, _ = protocol.shots_and_queries(dataset, "test")
    tasks = dataset.sample("test", TEST_SEED, 0, _SHOWN_CIRCLES, shots, 1)
    axis = np.linspace(*dataset.domain, _GRID_POINTS)
    grid = torch.as_tensor(np.stack(np.meshgrid(axis, axis), axis=-1), dtype=torch.float32)
    inputs = grid.to(dataset.device).reshape(1, -1, 2).expand(_SHOWN_CIRCLES, -1, -1)
    tasks, adapted = _adapted(learner, tasks, inputs, protocol, hardware)
    inside = learner.predict(adapted, tasks.query.x).softmax(-1)[..., 1]
    info = tasks.info or {}
    sampled.boundaries(
        axis,
        inside.unflatten(-1, (_GRID_POINTS, _GRID_POINTS)).cpu().numpy(),
        tasks.support.x.cpu().numpy(),
        tasks.support.y.cpu().numpy(),
        np.stack([info["centre_x"], info["centre_y"], info["radius"]], axis=-1),
        folder.figures / "boundaries.png",
    )


def _adapted(
    learner: MetaLearner,
    tasks: TaskBatch,
    inputs: Tensor,
    protocol: Protocol,
    hardware: Hardware,
) -> tuple[TaskBatch, Adapted]:
    """The tasks with `inputs` as their query inputs, and the learner adapted to the tasks."""
    tasks = hardware.cast(replace(tasks, query=replace(tasks.query, x=inputs)))
    learner.eval()
    return tasks, learner.adapt(tasks.support, protocol.inner_steps)
