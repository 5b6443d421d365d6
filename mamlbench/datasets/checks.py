"""A check that a dataset's tasks are what the dataset declares."""

from __future__ import annotations

import torch

from mamlbench.datasets.base import Dataset
from mamlbench.errors import UserError
from mamlbench.objectives import Classification, Regression
from mamlbench.tasks import Examples, TaskBatch

_TASKS = 2  # a dataset that ignores the number of tasks asked for would pass with 1


def check_tasks(dataset: Dataset, split: str, shots: int, queries: int) -> None:
    """Sample tasks of a split, and check their shapes, types, labels and numbers of examples.

    Losses would broadcast some wrong shapes without an error. Tasks in which a policy acts have no
    examples to check yet.

    Raises:
        UserError: says what a task has and what is accepted.
        BadValue: the dataset cannot make tasks of this size.
    """
    tasks = dataset.sample(split, 0, 0, _TASKS, shots, queries)
    if dataset.acts:
        return
    support = dataset.support_ways * shots * dataset.examples_per_shot
    query = dataset.ways * queries * dataset.examples_per_shot * _possible_tasks(tasks)
    for side, examples, rows in (
        ("support", tasks.support, support),
        ("query", tasks.query, query),
    ):
        wrong = _wrong(dataset, examples, rows)
        if wrong is not None:
            name = type(dataset).__name__
            raise UserError(f"dataset: {name}: in the {side} sets of {split} tasks, {wrong}")


def _possible_tasks(tasks: TaskBatch) -> int:
    """How many possible tasks the queries belong to: several if the tasks are ambiguous."""
    info = tasks.info or {}
    return 1 + int(info["possible"].max(initial=0)) if "possible" in info else 1


def _wrong(dataset: Dataset, examples: Examples, rows: int) -> str | None:
    """What is not as declared, and what is accepted; None if all is well."""
    x, y, objective, outputs = examples.x, examples.y, dataset.objective, dataset.outputs
    accepted = [_TASKS, rows, *dataset.input_shape]
    if [*x.shape] != accepted:
        return f"x has shape {[*x.shape]}; accepted is {accepted}: tasks, examples, input_shape"
    if x.dtype != torch.float32:
        return f"x is {x.dtype}; accepted is torch.float32"
    if isinstance(objective, Classification):
        return _wrong_labels(y, rows, outputs)
    if isinstance(objective, Regression):
        accepted = [_TASKS, rows, outputs]
        if [*y.shape] != accepted:
            return f"y has shape {[*y.shape]}; accepted is {accepted}: tasks, examples, outputs"
        if not y.is_floating_point():
            return f"y is {y.dtype}; accepted is torch.float32"
    elif [*y.shape[:2]] != [_TASKS, rows]:  # an objective of the user's
        return f"y has shape {[*y.shape]}; accepted is [{_TASKS}, {rows}, ...]: tasks, examples"
    return None


def _wrong_labels(y: torch.Tensor, rows: int, classes: int) -> str | None:
    """As `_wrong`, for class numbers."""
    if [*y.shape] != [_TASKS, rows]:
        return f"y has shape {[*y.shape]}; accepted is {[_TASKS, rows]}: tasks, examples"
    if y.dtype != torch.int64:
        return f"y is {y.dtype}; accepted is torch.int64, class numbers from 0"
    low, high = (int(y.min()), int(y.max())) if rows else (0, 0)
    if low < 0 or high >= classes:
        return f"y is {low} to {high}; accepted is class numbers 0 to {classes - 1}"
    return None
