"""What a run says at its start and at its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mamlbench.loggers import print_result_table
from mamlbench.networks import TaskNetwork

if TYPE_CHECKING:
    from mamlbench.experiment import Experiment

_TABLE_STEPS = (0, 1, 2, 3, 5, 10, 20, 50)


def announce(experiment: Experiment) -> None:
    """Say what runs, how it will be judged, and where it is kept."""
    verb = "tests" if experiment.tested_checkpoints else "trains"
    print(f"mamlbench {verb} {experiment.label} in {experiment.folder.path}", file=sys.stderr)
    network = experiment.learner.network
    if not isinstance(network, TaskNetwork):
        print(
            f"mamlbench: {type(network).__name__} takes the general path (vmap); networks of "
            "mamlbench.networks.layers take the task-batched one, which is faster",
            file=sys.stderr,
        )


def report(experiment: Experiment, summary: dict[str, Any]) -> None:
    """Print the result table, the protocol and where the figures are."""
    metric = experiment.dataset.objective.metric
    by_step = summary["test"]["by_step"]
    last = len(by_step) - 1
    steps = sorted({step for step in _TABLE_STEPS if step < last} | {last})
    percent = metric == "accuracy"
    name = "accuracy, %" if percent else metric.upper() if metric == "mse" else metric
    cells = [_cell(by_step[step][metric], 100.0 if percent else 1.0) for step in steps]
    print()
    print_result_table(
        f"{experiment.label}: {name} after so many inner steps",
        ["inner steps", *map(str, steps)],
        [[name, *cells]],
    )
    print(f"\n{summary['evaluation']}")
    if summary["diverged_tasks"]:
        print(f"{summary['diverged_tasks']} tasks diverged: their loss is not finite at the end")
    for figure in sorted(experiment.folder.figures.glob("*.png")):
        print(f"figure: {figure}")


def _cell(estimate: dict[str, float], scale: float) -> str:
    digits = 2 if scale > 1 else 3
    mean, half = scale * estimate["mean"], scale * estimate["ci95"]
    return f"{mean:.{digits}f} ± {half:.{digits}f}"
