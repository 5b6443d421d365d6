"""Test a learner on many tasks, after some or all of its inner steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mamlbench.algorithms.adapted import Adapted
from mamlbench.algorithms.base import MetaLearner
from mamlbench.datasets.base import Dataset
from mamlbench.evaluation.calibration import Reliability
from mamlbench.evaluation.coverage import coverage
from mamlbench.evaluation.protocol import Protocol
from mamlbench.evaluation.scores import Scores
from mamlbench.hardware.device import Hardware, told_of_full_memory
from mamlbench.hardware.distributed import ALONE, Ranks
from mamlbench.rl.gathering import acting, met_by
from mamlbench.tasks import TaskBatch

if TYPE_CHECKING:
    from mamlbench.run.kept_scores import KeptScores

TEST_SEED = 0
"""Meta-validation and meta-test tasks do not depend on a run's seed, so runs can be paired."""


@torch.no_grad()
def evaluate(
    learner: MetaLearner,
    dataset: Dataset,
    split: str,
    protocol: Protocol,
    hardware: Hardware,
    tasks: int | None = None,
    every_step: bool = True,
    in_full: bool = True,
    ranks: Ranks = ALONE,
    tell: Callable[[int, int], None] = lambda done, of: None,
    kept: KeptScores | None = None,
) -> Scores:
    """Adapt to `tasks` tasks of a split and score the queries; the learner is left unchanged.

    Args:
        learner: the learner to test.
        dataset: loaded.
        split: `val` or `test`.
        protocol: shots, queries, inner steps, steps after which to score, transduction.
        hardware: precision, and how many tasks to work on at a time.
        tasks: how many tasks (None: the protocol's).
        every_step: score after all inner steps that the protocol selects, not only after the last.
        in_full: compute all scores of the objective and the calibration, not only what training
            logs.
        ranks: processes that share the tasks; each gets the scores of all tasks.
        tell: called with the number of this process's finished tasks, from 0 on, and their total.
        kept: storage of the scores so far, from which a stopped test resumes.

    Raises:
        Stopped: a signal asked to stop, which `kept` checks.
    """
    count = protocol.tasks if tasks is None else tasks
    shots, queries = protocol.shots_and_queries(dataset, split)
    chunk = tasks_at_a_time(learner, dataset, protocol, hardware, shots, queries)
    share = ranks.share(count)
    parts = [] if kept is None else kept.read(share)
    with in_evaluation(learner):
        for first in range(share.first + sum(p.tasks for p in parts), share.end, chunk):
            tell(first - share.first, share.count)
            place = first, min(chunk, share.end - first)
            tests = hardware.cast(dataset.sample(split, TEST_SEED, *place, shots, queries))
            tests = acting(tests, learner.network, learner.particles)
            adapted = learner.adapt(tests.support, protocol.inner_steps)
            last = len(adapted.params) - 1
            steps = protocol.scored_steps(last) if every_step else [last]
            tried = (_tried(learner, adapted, tests, s, protocol.transductive) for s in steps)
            parts.append(_scores(learner, tried, tuple(steps), tests, in_full))
            if kept is not None:
                kept.keep(parts, share)
        tell(share.count, share.count)
    return Scores.of_parts(ranks.gathered(parts))


def _tried(
    learner: MetaLearner, adapted: Adapted, tests: TaskBatch, step: int, transductive: bool
) -> tuple[Tensor, Tensor]:
    """Outputs [T, P, M, C] after `step` inner steps, and the corresponding query targets."""
    query = met_by(tests.query, step, adapted.params[step])
    return learner.predict(adapted, query.x, step, transductive), query.y


def _scores(
    learner: MetaLearner,
    tried: Iterable[tuple[Tensor, Tensor]],
    steps: tuple[int, ...],
    tests: TaskBatch,
    in_full: bool,
) -> Scores:
    objective = learner.objective
    metrics, bins = [], []
    for outputs, y in tried:
        own = (objective.scores if in_full else objective.metrics)(outputs, y)
        metrics.append(own | coverage(outputs, tests))
        binned = objective.calibration(outputs, y) if in_full else None
        if binned is not None:
            bins.append(binned)
    by_task = {
        name: torch.stack([m[name] for m in metrics]).double().cpu().numpy() for name in metrics[0]
    }
    return Scores(by_task, steps, Reliability(torch.stack(bins).cpu().numpy()) if bins else None)


@contextmanager
def in_evaluation(learner: MetaLearner) -> Iterator[None]:
    """Put the learner into evaluation mode, and afterwards back into its earlier mode.

    Raises:
        UserError: a GPU's memory is full.
    """
    was_training = learner.training
    learner.eval()
    try:
        with told_of_full_memory():
            yield
    finally:
        learner.train(was_training)


def tasks_at_a_time(
    learner: MetaLearner,
    dataset: Dataset,
    protocol: Protocol,
    hardware: Hardware,
    shots: int,
    queries: int,
) -> int:
    """Number of tasks of K `shots` and Q `queries` per class to test at a time, at least 1.

    As many as suit the device, given the rows and adapted parameters of every particle.
    """
    support = dataset.ways * shots * dataset.examples_per_shot
    alone = 1 if protocol.transductive else support + 1
    rows = (support + dataset.ways * queries * alone) * learner.particles
    weights = sum(parameter.numel() for parameter in learner.network.parameters())
    steps = learner.inner_steps if protocol.inner_steps is None else protocol.inner_steps
    kept = weights * (steps + 1) * learner.particles
    return hardware.chunk_to_test(rows, dataset.input_shape, kept)
