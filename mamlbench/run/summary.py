"""The content of a finished run's `summary.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamlbench.evaluation import Scores
from mamlbench.networks.base import norm_of
from mamlbench.run.provenance import versions
from mamlbench.run.tested import is_of_unfinished, selected_in_words
from mamlbench.training import Trainer
from mamlbench.words import in_turn

if TYPE_CHECKING:
    from mamlbench.experiment import Experiment


def summary_of(
    run: Experiment,
    scores: Scores,
    trainer: Trainer,
    chosen: Sequence[Path],
    trained_iterations: int,
) -> dict[str, Any]:
    """Test scores, how the run was trained and tested, and what it ran on.

    Args:
        run: the run, after its test.
        scores: the test scores.
        trainer: the run's trainer, which did nothing if the run only tests.
        chosen: the tested checkpoints; empty if the learner's final state was tested.
        trained_iterations: outer steps of the tested learner, even if another run did them.
    """
    by_step, tested = scores.by_step(), run.tested_checkpoints
    trained = trainer.iteration * run.training.meta_batch_size
    norm = norm_of(run.learner.network)
    names = [str(path) if tested else path.name for path in chosen]
    protocol = replace(run.protocol, select=selected_in_words(run.protocol, chosen))
    return {
        "metric": run.dataset.objective.metric,
        "higher_is_better": run.dataset.objective.higher_is_better,
        "test": {**(by_step[-1] or {}), "by_step": by_step},
        **({} if scores.reliability is None else {"reliability": scores.reliability.diagram()}),
        "diverged_tasks": scores.diverged(),
        "validation": None if run.protocol.by_training else trainer.best.top,
        **({"best_training": trainer.best.top} if run.protocol.by_training else {}),
        "train": {
            "iterations": trainer.iteration,
            "seconds": trainer.seconds,
            "tasks_per_second": trained / trainer.seconds if trainer.seconds else None,
            "skipped": trainer.skipped,
        },
        "evaluation": protocol.in_words(run.dataset, len(by_step) - 1, norm),
        **asdict(run.name),
        "checkpoint": names if len(names) > 1 else next(iter(names), None),
        "trained_iterations": trained_iterations,
        "of_unfinished": any(map(is_of_unfinished, tested)),
        **({"trained_in": run.trained_in} if tested else {}),
        "norm": norm,
        "transductive": run.protocol.transductive,
        "device": in_turn(trainer.devices or {trainer.device: 0}),
        "precision": run.hardware.precision,
        "versions": versions(),
        **({} if run.dataset.simulator is None else {"simulator": run.dataset.simulator}),
        "data_sha256": run.dataset.sha256,
        "command": run.command,
        **({"commits": in_turn(trainer.commits)} if len(trainer.commits) > 1 else {}),
        **({} if run.shortened is None else {"shortened": run.shortened}),
    }
