"""What a run prints at its start and at its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mamlbench import metrics
from mamlbench.native import why_not
from mamlbench.networks import Conv4, TaskNetwork, WideResNet
from mamlbench.report.sheets import print_result_table
from mamlbench.run.folder import RunFolder
from mamlbench.words import number_of

if TYPE_CHECKING:
    from mamlbench.experiment import Experiment

_TABLE_STEPS = (0, 1, 2, 3, 5, 10, 20, 50)
_PROBABILISTIC = (
    *("accuracy_of_particles", "mse_of_particles", "nll", "brier", "ece"),
    *("coverage", "assigned_accuracy", "average_nll", "return_of_best_particle"),
)


def tell_of_changed_code(folder: RunFolder, name: str = "this run") -> None:
    """Print which source files of a run's classes have changed since it began, if any."""
    if changed := folder.changed_code():
        files = ", ".join(changed)
        print(f"mamlbench: since {name} began, {files} changed", file=sys.stderr)


def announce(experiment: Experiment, missing_preset: str | None = None) -> None:
    """Print what runs, where its files are, and what a user may not expect.

    Args:
        experiment: the run that starts.
        missing_preset: the preset that would set rates and lengths, if it does not exist.
    """
    label, path = experiment.name.label, experiment.folder.path
    if experiment.is_finished:
        print(f"mamlbench shows {label} in {path}; restart=true starts over", file=sys.stderr)
        tell_of_changed_code(experiment.folder)
        return
    tests = bool(experiment.tested_checkpoints)
    print(f"mamlbench {'tests' if tests else 'trains'} {label} in {path}", file=sys.stderr)
    if not experiment.options.restart:
        tell_of_changed_code(experiment.folder)
    for trained in dict.fromkeys(path.parent for path in experiment.tested_checkpoints):
        tell_of_changed_code(RunFolder(trained), str(trained))
    if tests and experiment.shortened:  # the budget may have been meant for the training run only
        tasks = number_of(experiment.protocol.tasks, "task")
        print(f"mamlbench: budget={experiment.options.budget}: {tasks}", file=sys.stderr)
    if not tests and missing_preset is not None:
        print(
            f"mamlbench: there is no preset {missing_preset}, so rates and lengths are plain "
            "defaults, except those that you set yourself",
            file=sys.stderr,
        )
    data = experiment.dataset
    if "root" in experiment.config["dataset"] and not data.is_hashed:
        print(
            f"mamlbench: {type(data).__name__} has no hash of its data, so that a run goes on even "
            "if they have changed",
            file=sys.stderr,
        )
    network = experiment.learner.network
    on_cpu = experiment.hardware.torch_device.type == "cpu"
    if on_cpu and isinstance(network, (Conv4, WideResNet)) and (why := why_not()):
        print(
            f"mamlbench: no compiled kernels ({why}): convolutions use torch's slower operations",
            file=sys.stderr,
        )
    if not isinstance(network, TaskNetwork):
        print(
            f"mamlbench: {type(network).__name__} uses the general path (vmap); networks of "
            "mamlbench.networks.layers use the faster task-batched one",
            file=sys.stderr,
        )


def report(experiment: Experiment, summary: dict[str, Any]) -> None:
    """Print the result table, the protocol and the paths of the figures."""
    metric = experiment.dataset.objective.metric
    print_result(experiment.name.label, metric, experiment.folder, summary)


def print_result(label: str, metric: str, folder: RunFolder, summary: dict[str, Any]) -> None:
    """Like `report`, for a run that is not built, by its label, metric and folder."""
    by_step = summary["test"]["by_step"]
    last = len(by_step) - 1
    steps = [step for step in _TABLE_STEPS if step < last and by_step[step] is not None] + [last]
    names = [metric, *(name for name in _PROBABILISTIC if name in by_step[last])]
    rows = [[metrics.label(n), *(_cell(n, by_step[step][n]) for step in steps)] for n in names]
    print()
    print_result_table(
        f"{label}: {metrics.label(metric)} by number of inner steps",
        ["inner steps", *map(str, steps)],
        rows,
    )
    if "active_learning" in summary:
        _report_active_learning(label, metric, summary["active_learning"])
    print(f"\n{summary['evaluation']}")
    if summary["diverged_tasks"]:
        tasks = number_of(summary["diverged_tasks"], "task")
        print(f"{tasks} diverged: the loss is not finite at the end")
    for figure in sorted(folder.figures.glob("*.png")):
        print(f"figure: {figure}")


def _report_active_learning(label: str, metric: str, found: dict[str, Any]) -> None:
    curve, criterion = found["curve"], found["criterion"]
    names = {
        "uncertainty": f"largest {criterion}",
        "random": "random",
        "difference": "difference, paired",
    }
    rows = [
        [words, *(_cell(metric, entry[name][metric]) for entry in curve)]
        for name, words in names.items()
        if name in curve[0]
    ]
    print()
    print_result_table(
        f"{label}: {metrics.label(metric)} by labels asked for, and how they were chosen",
        ["labels", *map(str, range(len(curve)))],
        rows,
    )
    if criterion is None:
        print(
            "\nOnly random choice was run: one prediction has no variance; to choose by "
            "uncertainty, regression needs a learner with 2 or more particles"
        )


def _cell(metric: str, estimate: dict[str, float | None]) -> str:
    return metrics.shown(metric, estimate["mean"], estimate["ci95"])
