"""Batches of tasks are cut and joined."""

from __future__ import annotations

import numpy as np
import torch

from mamlbench.tasks import Examples, TaskBatch


def batch(tasks: int = 5) -> TaskBatch:
    x = torch.arange(tasks * 3).view(tasks, 3, 1)
    support = Examples(x, -x, np.arange(tasks))
    query = Examples(x + 100, -x - 100)
    return TaskBatch(support, query, {"phase": np.arange(tasks) / 10})


def test_a_slice_keeps_everything_of_its_tasks():
    part = batch()[1:3]
    assert len(part) == 2
    assert part.support.x.flatten().tolist() == [3, 4, 5, 6, 7, 8]
    assert part.query.y[0].flatten().tolist() == [-103, -104, -105]
    assert part.support.seeds.tolist() == [1, 2]
    assert part.query.seeds is None
    assert part.info["phase"].tolist() == [0.1, 0.2]
    assert TaskBatch(part.support, part.query)[0:1].info is None


def test_chunks_cover_all_tasks_in_order():
    chunks = list(batch().chunks(2))
    assert [len(chunk) for chunk in chunks] == [2, 2, 1]
    joined = torch.cat([chunk.support.x for chunk in chunks])
    assert torch.equal(joined, batch().support.x)
    assert [len(chunk) for chunk in batch().chunks(9)] == [5]


def test_together_joins_the_examples_of_each_task():
    tasks = batch(2)
    both = tasks.support.together(tasks.query)
    assert both.x[1].flatten().tolist() == [3, 4, 5, 103, 104, 105]
    assert both.y[0].flatten().tolist() == [0, -1, -2, -100, -101, -102]
    assert both.seeds.tolist() == [0, 1]
