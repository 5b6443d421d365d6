"""The figures of one run: what a person would look at first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mamlbench.algorithms.base import MetaLearner
from mamlbench.datasets.base import Dataset
from mamlbench.datasets.functions import Functions
from mamlbench.evaluation import TEST_SEED, Protocol
from mamlbench.hardware import Hardware
from mamlbench.objectives import Classification
from mamlbench.rl.control import Navigation2D
from mamlbench.run_folder import RunFolder

_SHOWN_TASKS = 4
_CURVE_POINTS = 200


def draw_figures(
    folder: RunFolder,
    learner: MetaLearner,
    dataset: Dataset,
    protocol: Protocol,
    hardware: Hardware,
    by_step: list[dict],
) -> None:
    """Draw what suits the problem into the run's `figures/`.

    Args:
        folder: of the run, with its `metrics.csv`.
        learner: as it was tested.
        dataset: loaded.
        protocol: of the test.
        hardware: precision.
        by_step: the scores after each inner step.
    """
    from mamlbench.report import figures  # and matplotlib, which a run needs at its end only

    out = folder.figures
    if (folder.path / "metrics.csv").is_file():
        figures.learning_curve(folder.path / "metrics.csv", out / "learning_curve.png")
    metric = learner.objective.metric
    figures.score_by_step(by_step, metric, out / f"{metric}_by_step.png")
    if isinstance(dataset, Functions):
        _draw_fits(folder, learner, dataset, protocol, hardware)
    elif isinstance(dataset, Navigation2D):
        from mamlbench.report.trajectories import draw_trajectories

        draw_trajectories(learner, dataset, protocol, hardware, out / "trajectories.png")
    elif isinstance(dataset.objective, Classification) and len(dataset.input_shape) == 3:
        tasks = dataset.sample(
            "test", TEST_SEED, 0, 4, *protocol.shots_and_queries(dataset, "test")
        )
        sides = (tasks.support.x, tasks.support.y, tasks.query.x, tasks.query.y)
        x, y, query_x, query_y = (side.cpu().numpy() for side in sides)
        figures.task_sheet(x, y, query_x, query_y, out / "tasks.png")


@torch.no_grad()
def _draw_fits(
    folder: RunFolder,
    learner: MetaLearner,
    dataset: Functions,
    protocol: Protocol,
    hardware: Hardware,
) -> None:
    from mamlbench.report import figures

    shots, _ = protocol.shots_and_queries(dataset, "test")
    tasks = dataset.sample("test", TEST_SEED, 0, _SHOWN_TASKS, shots, 1)
    x = np.linspace(*dataset.domain, _CURVE_POINTS)
    grid = torch.as_tensor(x, dtype=torch.float32, device=dataset.device)
    inputs = grid.reshape(1, -1, 1).expand(_SHOWN_TASKS, -1, -1)
    tasks = hardware.cast(replace(tasks, query=replace(tasks.query, x=inputs)))
    learner.eval()
    adapted = learner.adapt(tasks.support, protocol.inner_steps)
    last = len(adapted.params) - 1
    fits = {
        step: learner.predict(adapted, tasks.query.x, step).mean(1)[..., 0].cpu().numpy()
        for step in sorted({0, min(1, last), last})
    }
    truth = dataset.curve(tasks.info or {}, x)
    points = (tasks.support.x[..., 0].cpu().numpy(), tasks.support.y[..., 0].cpu().numpy())
    figures.fits(x, truth, *points, fits, folder.figures / "fits.png")
